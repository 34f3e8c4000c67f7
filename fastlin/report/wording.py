"""Numbers and comparisons in words, so that a sentence stays true whichever way a result falls."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

MINUS = "\N{MINUS SIGN}"


def percent(fraction: float) -> str:
    """Return 0.9712 as "97.12 %"."""
    return f"{100.0 * fraction:.2f} %"


def points(difference: float) -> str:
    """Return the size of a difference of two fractions, 0.0123 as "1.23 percentage points"."""
    return f"{abs(100.0 * difference):.2f} percentage points"


def signed_points(difference: float) -> str:
    """Return a difference of fractions in percentage points with its sign, 0.0123 as "+1.23"."""
    rounded = round(100.0 * difference, 2) + 0.0  # adding 0 takes the sign from a negative zero
    return f"{rounded:+.2f}".replace("-", MINUS)


def power_of_ten(number: float) -> str:
    """Return 1.25e-08 as 1.2 times 10⁻⁸ in signs; a plain power of ten as "10⁻⁶"."""
    digits, exponent = f"{number:.1e}".split("e")
    power = "10" + str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return power if digits == "1.0" else f"{digits} \N{MULTIPLICATION SIGN} {power}"


def count(number: int, noun: str, plural: str = "") -> str:
    """Return "no spike", "1 spike" or "3 spikes"."""
    if number == 1:
        return f"1 {noun}"
    return f"{number or 'no'} {plural or noun + 's' if number else noun}"


def compare(value: float, other: float, up: str, down: str, same: str, digits: int = 4) -> str:
    """Choose the word for `value` against `other`; equal to `digits` decimals is `same`."""
    if round(value, digits) == round(other, digits):
        return same
    return up if value > other else down


def listing(items: Sequence[str]) -> str:
    """Join items as "a, b and c"."""
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} and {items[-1]}"


def falls_throughout(values: Sequence[float]) -> bool:
    """Whether every value is smaller than the one before."""
    return all(later < earlier for earlier, later in itertools.pairwise(values))


def rises_throughout(values: Sequence[float]) -> bool:
    """Whether every value is larger than the one before."""
    return falls_throughout([-value for value in values])
