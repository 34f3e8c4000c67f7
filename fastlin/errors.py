"""Every error that fastlin raises on purpose.

One tree under :class:`FastlinError`; each leaf is also the built-in type that
scikit-learn's users expect. A message says what was got, what was expected,
and what to type next. The command line prints any of them as one line and
exits with code 2.
"""

from __future__ import annotations

import reprlib
from typing import Any

MOST_CHARACTERS = 300
"""Length of the longest message that is shown whole."""

LAST_CHARACTERS = 190
"""What is kept of the end of a longer one: there it says what to type next."""


def one_line(message: str) -> str:
    """Return the message without line breaks; of a long one the middle is left out."""
    line = " ".join(message.split())
    if len(line) <= MOST_CHARACTERS:
        return line
    gap = " ... "
    first = line[: MOST_CHARACTERS - LAST_CHARACTERS - len(gap)].rstrip()
    return first + gap + line[-LAST_CHARACTERS:].lstrip()


def shown(value: Any) -> str:
    """Return what stands for a value in a message, 60 characters at most."""
    try:
        text = _short.repr(value)
    except Exception:  # anybody's class may fail to describe itself
        text = f"a {type(value).__name__}"
    text = " ".join(text.split())
    return text if len(text) <= _short.maxother else f"{text[: _short.maxother - 4]} ..."


def listed(values: Any, most: int = 5) -> str:
    """Return the first few values with commas between."""
    texts = [shown(value) for value in values[:most]]
    return ", ".join(texts) + (", ..." if len(values) > most else "")


_short = reprlib.Repr()
_short.maxlist = _short.maxtuple = _short.maxdict = _short.maxset = 5
_short.maxstring = _short.maxother = _short.maxlong = 60


class FastlinError(Exception):
    """Base of every error raised on purpose.

    Shown as one line of 300 characters at most, whatever it quotes; ``args`` hold all of it.
    """

    def __str__(self) -> str:
        """Return the message, in one line."""
        return one_line(super().__str__())


class InputError(FastlinError, ValueError):
    """An argument, an array or a file holds what cannot be used."""


class InputTypeError(InputError, TypeError):
    """Something in an array is of a type that cannot be used."""


class BackendUnavailableError(FastlinError, RuntimeError):
    """A backend that was asked for by name cannot run here."""


class DatasetError(FastlinError, RuntimeError):
    """A data set could not be fetched, or is not what it should be."""


class DivergenceError(FastlinError, RuntimeError):
    """The loss became nan or infinite while training."""


class ModelFileError(FastlinError, ValueError):
    """A model file is missing, damaged, or not a fastlin model."""


class OutputError(FastlinError, OSError):
    """A result could not be written where it was asked for."""
