"""Numbers and comparisons in words, so that a sentence stays true whichever way a result falls."""

from __future__ import annotations

from collections.abc import Sequence


def percent(fraction: float) -> str:
    """Return 0.9712 as "97.12 %"."""
    return f"{100.0 * fraction:.2f} %"


def points(difference: float) -> str:
    """Return the size of a difference of two fractions, 0.0123 as "1.23 percentage points"."""
    return f"{abs(100.0 * difference):.2f} percentage points"


def count(number: int, noun: str, plural: str = "") -> str:
    """Return "no spike", "1 spike" or "3 spikes"."""
    if number == 1:
        return f"1 {noun}"
    return f"{number or 'no'} {plural or noun + 's' if number else noun}"


def compare(value: float, other: float, up: str, down: str, same: str, digits: int = 4) -> str:
    """Choose the word for `value` against `other`, equal where `digits` decimals show no difference."""
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
    return all(later < earlier for earlier, later in zip(values, values[1:], strict=False))


def rises_throughout(values: Sequence[float]) -> bool:
    """Whether every value is larger than the one before."""
    return falls_throughout([-value for value in values])
