"""Every error that fastlin raises on purpose.

All derive from :class:`FastlinError`, and each class that is raised is also the built-in type that
users of scikit-learn expect. A message says what was received, what was expected, and what to type
next. The command line prints any of them as one line and exits with code 2.
"""

from __future__ import annotations

import re
import reprlib
from typing import Any

MOST_CHARACTERS = 300
"""Longest message that is shown in full."""

LAST_CHARACTERS = 190
"""Characters kept from the end of a longer message, which says what to type next."""


CONTROLS = re.compile(r"[\0-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Control characters, among them a terminal's escape, and those that turn the order of letters."""


def one_line(message: str) -> str:
    """Return the message without line breaks, and without its middle if it is too long.

    Characters that would move a terminal's cursor or change what stands before them are escaped.
    """
    line = printable(" ".join(message.split()))
    if len(line) <= MOST_CHARACTERS:
        return line
    gap = " ... "
    first = line[: MOST_CHARACTERS - LAST_CHARACTERS - len(gap)].rstrip()
    return first + gap + line[-LAST_CHARACTERS:].lstrip()


def printable(text: str) -> str:
    """Return text in which characters that control a terminal or a reader's order are escaped."""
    return CONTROLS.sub(lambda found: ascii(found[0])[1:-1], text)


def shown(value: Any) -> str:
    """Return a value as a message shows it, in at most 60 characters."""
    try:
        text = _short.repr(value)
    except Exception:  # a foreign class may fail to describe itself
        text = f"a {type(value).__name__}"
    text = " ".join(text.split())
    return text if len(text) <= _short.maxother else f"{text[: _short.maxother - 4]} ..."


def listed(values: Any, most: int = 5) -> str:
    """Return the first few values, separated by commas."""
    texts = [shown(value) for value in values[:most]]
    return ", ".join(texts) + (", ..." if len(values) > most else "")


_short = reprlib.Repr()
_short.maxlist = _short.maxtuple = _short.maxdict = _short.maxset = 5
_short.maxstring = _short.maxother = _short.maxlong = 60


class FastlinError(Exception):
    """Base of every error raised on purpose.

    The message is shown as one line of at most 300 characters; ``args`` holds it in full.
    """

    def __str__(self) -> str:
        """Return the message as one line."""
        return one_line(super().__str__())


class InputError(FastlinError, ValueError):
    """An argument, an array or a file has an unusable value."""


class InputTypeError(InputError, TypeError):
    """An array holds values of an unusable type."""


class BackendUnavailableError(FastlinError, RuntimeError):
    """A backend that was requested by name cannot run on this machine."""


class ClusterError(FastlinError, RuntimeError):
    """A cluster of machines has lost what a fit needs, or does not answer."""


class DatasetError(FastlinError, RuntimeError):
    """A data set could not be fetched, or its content is wrong."""


class DivergenceError(FastlinError, RuntimeError):
    """The loss became nan or infinite during training."""


class ModelFileError(FastlinError, ValueError):
    """A model file is missing, damaged, or not a fastlin model."""


class OutputError(FastlinError, OSError):
    """A result could not be written to the requested place."""
