"""Ends the command ``fastlin`` at Ctrl-C with one line, no traceback and no temporary files.

During imports a module could swallow an exception or turn it into another error, and there is
nothing to clean up, so a signal ends the process at once. Afterwards a signal raises an
exception, so that temporary files are removed. Signals that a shell's ``&`` or ``nohup`` ignores
stay ignored.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from types import FrameType

_WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated", signal.SIGHUP: "terminated"}

begun = False
"""Whether this process is the command, and not a program that calls it."""
received: int | None = None
"""The signal that asked this process to end, if any."""


def begin() -> None:
    """Let Ctrl-C end the process at once; called at the start and at the end of the process."""
    global begun
    begun = True
    if signal.getsignal(signal.SIGINT) in (signal.default_int_handler, _raise):
        signal.signal(signal.SIGINT, _end_at_once)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is _raise:
            signal.signal(number, signal.SIG_DFL)
    _open_standard_streams()


def raise_from_now_on() -> None:
    """Raise :exc:`KeyboardInterrupt` at signals, once the command's modules are imported."""
    if not begun:
        return
    if signal.getsignal(signal.SIGINT) is _end_at_once:
        signal.signal(signal.SIGINT, _raise)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _raise)


def word() -> str:
    """Return the word that says how this process ended."""
    return _WORDS[signal.Signals(received or signal.SIGINT)]


def exit_code() -> int:
    """Return the exit code that shells use for the signal."""
    return 128 + (received or signal.SIGINT)


def _end_at_once(number: int, _frame: FrameType | None) -> None:
    with suppress(OSError):
        os.write(2, f"fastlin: {_WORDS[signal.Signals(number)]}\n".encode())
    os._exit(128 + number)


def _raise(number: int, _frame: FrameType | None) -> None:
    global received
    received = number
    raise KeyboardInterrupt


def _open_standard_streams() -> None:
    """Reopen closed standard streams, so that no opened file gets their descriptors."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free descriptor
