"""Fetches the four idx files of a collection from public HTTPS mirrors, through pooch.

Certificates are verified, as requests does; a mirror that redirects to anything but HTTPS is left.
"""

from __future__ import annotations

import logging
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from fastlin.datasets import idx
from fastlin.errors import DatasetError

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

#: Seconds for a first answer of all mirrors together: a name with many silent addresses
#: would otherwise take one connection timeout for each of them.
FIRST_ANSWER_SECONDS = 4.0
#: Seconds to connect, and between two pieces of a file.
TIMEOUT = (3.0, 15.0)
#: How every address begins from which anything is fetched.
SECURE = "https://"
#: Bytes of a compressed file, the largest of which has 26 MB.
MOST_BYTES = 1 << 26
# Some servers would otherwise announce the .gz as an encoding and have it unpacked on arrival.
_HEADERS = {"Accept-Encoding": "identity"}


def ways(
    mirrors: tuple[str, ...], sha256_gz: dict[str, str]
) -> Iterator[tuple[str, Callable[[bool], dict[str, bytes]]]]:
    """Return each mirror with the call that fetches all files from it.

    A mirror that does not answer is included; its call raises at once.
    """
    smallest = f"{list(sha256_gz)[-1]}.gz"
    for mirror, failure in _ask(mirrors, smallest).items():
        yield mirror, partial(_fetch, mirror, failure, sha256_gz)


def _ask(mirrors: tuple[str, ...], name: str) -> dict[str, str | None]:
    """Ask all mirrors at once for the head of a file; return each one's error, or None."""
    silent = f"no answer within {FIRST_ANSWER_SECONDS:g} s"
    failures: dict[str, str | None] = dict.fromkeys(mirrors, silent)

    def ask(mirror: str) -> None:
        import requests

        try:
            _check_secure(mirror)
            with requests.get(
                mirror + name,
                stream=True,
                timeout=FIRST_ANSWER_SECONDS,
                headers=_HEADERS,
                hooks={"response": _check_redirection},
            ) as response:
                response.raise_for_status()
            failures[mirror] = None
        except (requests.RequestException, OSError, DatasetError) as error:
            failures[mirror] = _reason(error)

    # Daemons: a silent mirror must not keep the interpreter from ending.
    threads = [threading.Thread(target=ask, args=(mirror,), daemon=True) for mirror in mirrors]
    deadline = time.monotonic() + FIRST_ANSWER_SECONDS
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return dict(failures)


def _fetch(
    mirror: str, failure: str | None, sha256_gz: dict[str, str], progress: bool
) -> dict[str, bytes]:
    """Fetch all files from one mirror, uncompressed; raise DatasetError at the first failure."""
    if failure is not None:
        raise DatasetError(failure)
    import pooch
    import requests

    pooch.get_logger().setLevel(logging.WARNING)
    files = {}
    with (
        tempfile.TemporaryDirectory(prefix="fastlin-") as folder,
        _bars(progress) as bars,
        ExitStack() as answers,
    ):

        def close_at_the_end(response: Any, **_: Any) -> None:
            answers.callback(response.close)  # pooch leaves open what it does not read to the end

        for name, sha256 in sha256_gz.items():
            downloader = pooch.HTTPDownloader(
                progressbar=_Bar(bars, name),
                chunk_size=1 << 16,
                timeout=TIMEOUT,
                headers=_HEADERS,
                hooks={"response": [_check_redirection, close_at_the_end]},
            )
            try:
                path = pooch.retrieve(
                    f"{mirror}{name}.gz",
                    known_hash=f"sha256:{sha256}",
                    fname=f"{name}.gz",
                    path=folder,
                    downloader=downloader,
                )
                files[name] = idx.gunzip(Path(path).read_bytes())
            except (requests.RequestException, OSError) as error:
                raise DatasetError(f"{name}.gz: {_reason(error)}") from error
            except ValueError as error:  # pooch has removed the file
                raise DatasetError(
                    f"{name}.gz is truncated or altered: its SHA-256 differs; removed"
                ) from error
    return files


def _check_secure(address: str) -> None:
    if not address.startswith(SECURE):
        raise DatasetError(f"leads to {address[:60]}, which is not HTTPS")


def _check_redirection(response: Any, **_: Any) -> None:
    """Raise DatasetError before a request follows an answer to an address without HTTPS."""
    if response.is_redirect:
        try:
            _check_secure(urljoin(response.url, response.headers["location"]))
        except DatasetError:
            response.close()
            raise


def _reason(error: Exception) -> str:
    """Return in a few words what the long messages of requests and urllib3 mean."""
    import requests

    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"answered {error.response.status_code} {error.response.reason}"
    for kind, meaning in (
        (requests.Timeout, "no answer in time"),
        (requests.exceptions.SSLError, "its certificate is not accepted"),
        (requests.exceptions.ProxyError, "the proxy does not let it through"),
        (requests.exceptions.ChunkedEncodingError, "the connection broke off"),
        (requests.ConnectionError, "cannot be reached"),
    ):
        if isinstance(error, kind):
            return meaning
    return str(error)


def _bars(progress: bool) -> Progress:
    """Return the display on standard error: a bar with size, rate and time left for each file."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        # Quiet too, since older versions of rich end a display that is disabled with an empty line.
        console=Console(stderr=True, quiet=not progress),
        disable=not progress,
    )


class _Bar:
    """One file's bar, with the four names that pooch calls on a progress bar."""

    def __init__(self, bars: Progress, name: str) -> None:
        self._bars = bars
        self._task: TaskID = bars.add_task(name, total=None)
        self._n_bytes = 0
        self.total = 0  # set by pooch, from the server's Content-Length

    def update(self, n_bytes: int) -> None:
        """Move on; pooch counts whole pieces, so that the last one may overshoot.

        Raises DatasetError if a server goes on and on.
        """
        self._n_bytes += n_bytes
        if self._n_bytes > MOST_BYTES:
            raise DatasetError(f"sends more than {MOST_BYTES} bytes")
        self._bars.update(self._task, total=self.total or None, advance=n_bytes)

    def reset(self) -> None:
        """Go back to the start; pooch then calls update with the total."""
        self._n_bytes = 0
        self._bars.update(self._task, completed=0)

    def close(self) -> None:
        """Leave the finished bar standing."""
