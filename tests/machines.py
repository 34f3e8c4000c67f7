"""A Dask cluster of processes that can be killed, stopped and joined, as machines are."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from distributed import Client

LONG = 120.0
"""Seconds after which something hangs."""

QUIET = {
    "DASK_DISTRIBUTED__LOGGING__DISTRIBUTED": "error",
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "10s",
}


class Machines:
    """A scheduler and workers, each a process of its own."""

    def __init__(self, folder: Path, host: str = "") -> None:
        self.folder, self.log = folder, folder / "log"
        self.workers: list[subprocess.Popen[bytes]] = []
        file = folder / "scheduler.json"
        self.scheduler = self._start(
            *(
                "scheduler",
                "--port",
                "0",
                "--dashboard-address",
                ":0",
                "--scheduler-file",
                str(file),
            ),
            host=host,
        )
        wait_until(file.exists)
        self.file = file

    def _start(
        self, kind: str, *options: str, host: str = "", **environment: str
    ) -> subprocess.Popen[bytes]:
        prefix = ("ip", "netns", "exec", host) if host else ()
        command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", *options]
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [*prefix, *command],
                env={**os.environ, **QUIET, **environment},
                cwd=self.folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def join(
        self, n_workers: int = 1, *, nanny: bool = False, host: str = "", **environment: str
    ) -> None:
        """Start workers; ``host`` names a network namespace."""
        options = ("--scheduler-file", str(self.file), "--nthreads", "1", "--no-dashboard")
        options += ("--local-directory", str(self.folder))
        for _ in range(n_workers):
            kind = "--nanny" if nanny else "--no-nanny"
            worker = self._start("worker", *options, kind, host=host, **environment)
            self.workers.append(worker)

    def kill_worker(self) -> None:
        """Kill the oldest worker that lives."""
        _kill(self.workers.pop(0))

    def end(self) -> None:
        """End all processes."""
        for process in (*self.workers, self.scheduler):
            _kill(process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and its children, a nanny's worker for example."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextmanager
def machines(
    folder: Path, n_workers: int = 2, hosts: tuple[str, ...] = ("",), **options: Any
) -> Iterator[tuple[Machines, Client]]:
    """Give a cluster with so many workers on each host, and a client; the first host schedules."""
    found = Machines(folder, hosts[0])
    try:
        for host in hosts:
            found.join(n_workers, host=host, **options)
        client = Client(scheduler_file=str(found.file), set_as_default=True)
        try:
            client.wait_for_workers(n_workers * len(hosts), timeout=LONG)
            yield found, client
        finally:
            closing = threading.Thread(target=client.close, args=(5,), daemon=True)
            closing.start()
            closing.join(20)
    finally:
        found.end()


def wait_until(condition: Callable[[], object], seconds: float = LONG) -> None:
    """Wait for a condition, but not for ever."""
    last = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < last, "it never came"
        time.sleep(0.05)


def within(seconds: float, function: Callable[[], Any]) -> Any:
    """Return what a function returns, or raise what it raises; fail if it takes longer."""
    found: list[Any] = []

    def run() -> None:
        try:
            found.append((function(), None))
        except BaseException as error:
            found.append((None, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    assert found, f"it hangs: nothing in {seconds:g} s"
    result, error = found[0]
    if error is not None:
        raise error
    return result
