"""Ctrl-C and termination of the command ``fastlin``: no traceback, no temporary file, one line.

While modules are imported an exception could come out of any of them, as an error of its own or not
at all, and there is nothing to clean up: the process ends at once. Afterwards a signal is an
exception, so that temporary files are removed on the way out. A shell's ``&`` and ``nohup`` have
signals ignored, and so they stay.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from types import FrameType

_WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated", signal.SIGHUP: "terminated"}

begun = False
"""Whether this process is the command, and not one that calls it."""
received: int | None = None
"""The signal that has asked for an end, if any."""


def begin() -> None:
    """Answer Ctrl-C by an immediate end; for the very start and the very end of a process."""
    global begun
    begun = True
    if signal.getsignal(signal.SIGINT) in (signal.default_int_handler, _raise):
        signal.signal(signal.SIGINT, _end_at_once)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is _raise:
            signal.signal(number, signal.SIG_DFL)
    _open_standard_streams()


def raise_from_now_on() -> None:
    """Answer signals by :exc:`KeyboardInterrupt`, once what a command needs has been imported."""
    if not begun:
        return
    if signal.getsignal(signal.SIGINT) is _end_at_once:
        signal.signal(signal.SIGINT, _raise)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _raise)


def word() -> str:
    """Return what to call the end of this process."""
    return _WORDS[signal.Signals(received or signal.SIGINT)]


def exit_code() -> int:
    """Return the exit code by which shells know the signal."""
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
    """Let no file that is opened take the place of a standard stream that was closed."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest that is free
