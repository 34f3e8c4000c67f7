"""How numbers are spelled in the cells of a text file."""

from __future__ import annotations

import re

_PLAIN_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,999}", re.ASCII)  # Python reads 4300 digits
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+(e[+-]?\d+)?", re.I | re.ASCII)


def is_number(cell: str, decimal: str = ".") -> bool:
    """Whether a cell holds a number as C spells it, or with a comma if that is the decimal mark."""
    text = cell.strip()
    if decimal == "," and _DECIMAL_COMMA.fullmatch(text):
        return True
    if "_" in text or not text.isascii():
        return False
    try:
        float(text)
    except ValueError:
        return False
    return True


def number(cell: str, decimal: str = ".") -> float:
    """Return the number in a cell for which :func:`is_number` is true."""
    return float(cell.replace(",", ".") if decimal == "," else cell)


def is_plain_integer(cell: str) -> bool:
    """Whether a whole number is spelled as Python prints it: 7, but not 007 or +7."""
    return _PLAIN_INTEGER.fullmatch(cell) is not None
