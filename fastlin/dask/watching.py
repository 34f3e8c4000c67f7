"""Waits for Dask, but not for ever: what has not moved for a while ends in one line."""

from __future__ import annotations

import asyncio
import concurrent.futures
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from distributed import Client
from distributed.scheduler import KilledWorker

from fastlin.errors import ClusterError, FastlinError

ANSWERS_WITHIN = 5.0
"""Seconds in which a scheduler that is alive answers a question."""

NEW_START = (
    "start the cluster again and call fit again; rows that the workers read, for example by "
    "dask.dataframe.read_parquet, survive the loss of any worker, but not that of the scheduler"
)


class Watch:
    """Waits for what a cluster computes.

    Parameters
    ----------
    client : distributed.Client
    timeout : float
        Seconds in which something must move: a task ends, or a worker has one to work on.
    """

    def __init__(self, client: Client, timeout: float) -> None:
        self.client, self.timeout = client, timeout
        self.doing = "looking at the cluster"
        self.can_be_read_again = True

    @property
    def scheduler(self) -> str:
        """The scheduler's address."""
        return str(getattr(self.client.scheduler, "address", "") or "the scheduler")

    def results(self, futures: Sequence[Any]) -> list[Any]:
        """Wait for futures and return their results; release them after an error or Ctrl-C."""

        async def gather() -> Any:
            return await self.client.gather(list(futures), asynchronous=True)

        try:
            return list(self.ask(gather, futures))
        except BaseException:
            for future in futures:
                with suppress(Exception):
                    future.release()
            raise

    def done(self, futures: Sequence[Any]) -> None:
        """Wait until futures are done, and leave their results where they are."""
        from distributed import wait

        async def gather() -> Any:
            await wait(list(futures))
            failed = [future for future in futures if future.status != "finished"]
            return await self.client.gather(failed[:1], asynchronous=True)

        try:
            self.ask(gather, futures)
        except BaseException:
            for future in futures:
                with suppress(Exception):
                    future.release()
            raise

    def ask(
        self, question: Callable[[], Coroutine[Any, Any, Any]], futures: Sequence[Any] = ()
    ) -> Any:
        """Return what a coroutine of Dask's loop returns, as long as something moves."""
        with self._explained():
            loop = self.client.loop.asyncio_loop
            answer = asyncio.run_coroutine_threadsafe(question(), loop)
            try:
                return self._answer(answer, futures)
            finally:
                answer.cancel()

    def within(self, seconds: float, question: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """Return what a coroutine returns, or None if it takes longer or fails."""
        loop = self.client.loop.asyncio_loop
        answer = asyncio.run_coroutine_threadsafe(question(), loop)
        try:
            return answer.result(seconds)
        except Exception:  # of any kind, if the scheduler is gone
            return None
        finally:
            answer.cancel()

    def _answer(self, answer: concurrent.futures.Future[Any], futures: Sequence[Any]) -> Any:
        interval = min(2.0, self.timeout / 5)
        moved, before, said = time.monotonic(), -1, "nothing has been asked of it"
        while True:
            try:
                return answer.result(interval)
            except concurrent.futures.TimeoutError:
                if answer.done():  # it raised a TimeoutError itself
                    raise
            done = sum(future.done() for future in futures)
            if done != before:
                moved, before = time.monotonic(), done
                continue
            said = self._standstill()
            if not said:
                moved = time.monotonic()
            elif time.monotonic() - moved > self.timeout:
                raise ClusterError(
                    f"nothing has moved for {self.timeout:g} s while {self.doing}: {said}; see to "
                    "the cluster and call fit again, or pass a longer timeout="
                )

    def _standstill(self) -> str:
        """Return why nothing moves; an empty string if a worker has something to work on."""

        async def look() -> Any:
            return await self.client.scheduler.processing(workers=None)

        processing = self.within(min(ANSWERS_WITHIN, self.timeout), look)
        if processing is None:
            if self.client.status != "running":  # what it had asked for is forgotten
                raise ClusterError(self._lost())
            return f"the scheduler at {self.scheduler} does not answer"
        if not processing:
            return "there is no worker"
        return "" if any(processing.values()) else "no worker has anything to do"

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn Dask's errors into one line that says what was lost."""
        try:
            yield
        except FastlinError:
            raise
        except KilledWorker as error:
            raise ClusterError(
                f"the worker died each time that it ran {error.task!s:.60} while {self.doing}; its "
                "memory may be too small for a partition: use more workers or smaller partitions"
            ) from error
        except (concurrent.futures.CancelledError, asyncio.CancelledError) as error:
            raise ClusterError(self._lost()) from error
        except (OSError, TimeoutError, RuntimeError) as error:
            if self.client.status == "running" and not _is_of_comms(error):
                raise
            raise ClusterError(self._lost()) from error
        except Exception as error:
            if type(error).__name__ in ("FutureCancelledError", "ClosedClientError"):
                raise ClusterError(self._lost()) from error
            raise

    def _lost(self) -> str:
        async def look() -> Any:
            return await self.client.scheduler.identity()

        if self.client.status != "running" or self.within(ANSWERS_WITHIN, look) is None:
            return f"the scheduler was lost while {self.doing}; {NEW_START}"
        return (
            f"rows were lost with a worker while {self.doing}, and they cannot be computed again, "
            "because they came from the client's memory, for example by client.scatter; rows that "
            "workers read, for example by dask.dataframe.read_parquet, would have survived"
        )


def _is_of_comms(error: BaseException) -> bool:
    return "Comm" in type(error).__name__ or "Client not running" in str(error)
