"""Types of option values; each says what it expected when it is given something else."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from fastlin.results.output_file import check_writable


class Number(click.ParamType):  # type: ignore[type-arg]  # generic in newer clicks only
    """A finite number within limits, or one of some words that stand for something else.

    Parameters
    ----------
    expected : str
        The accepted values in words, for messages: ``"a number above 0, or auto"``.
    low, high : float
        Limits, themselves accepted unless named in `without`.
    without : tuple of float
        Limits that are not accepted themselves.
    whole : bool
        Accept whole numbers only.
    words : mapping
        Accepted words and the value each stands for.
    """

    name = "number"

    def __init__(
        self,
        expected: str,
        *,
        low: float = -math.inf,
        high: float = math.inf,
        without: tuple[float, ...] = (),
        whole: bool = False,
        words: Mapping[str, Any] | None = None,
    ) -> None:
        self.expected = expected
        self.low, self.high, self.without = low, high, without
        self.whole = whole
        self.words = words or {}

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """Return how the value is shown on the help page."""
        return "|".join(["INTEGER" if self.whole else "NUMBER", *self.words])

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number or what the word stands for."""
        if not isinstance(value, str):  # a default
            return value
        if value.lower() in self.words:
            return self.words[value.lower()]
        try:
            number = int(value) if self.whole else float(value)
        except ValueError:
            self.fail(f"got '{value}', expected {self.expected}.", param, ctx)
        inside = self.low <= number <= self.high and number not in self.without
        if not inside or not math.isfinite(number):
            self.fail(f"got '{value}', expected {self.expected}.", param, ctx)
        return number


class InputScale(click.ParamType):  # type: ignore[type-arg]  # generic in newer clicks only
    """``none``, ``minmax``, ``standard``, ``auto``, or two numbers ``SHIFT,SCALE``."""

    name = "scale"
    words = ("auto", "none", "minmax", "standard")

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """Return how the value is shown on the help page."""
        return "|".join([*self.words, "SHIFT,SCALE"])

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> str | tuple[float, float]:
        """Return the word or the pair of numbers."""
        if not isinstance(value, str) or value in self.words:
            return value  # type: ignore[no-any-return]  # click types what is typed as Any
        try:
            shift, scale = (float(part) for part in value.split(","))
        except ValueError:
            shift, scale = math.nan, math.nan
        if not (math.isfinite(shift) and math.isfinite(scale) and scale > 0):
            self.fail(
                f"got '{value}', expected one of {', '.join(self.words)}, or two numbers "
                "SHIFT,SCALE with a scale above 0, such as 127.5,0.00784.",
                param,
                ctx,
            )
        return shift, scale


class Labels(click.ParamType):  # type: ignore[type-arg]  # generic in newer clicks only
    """Two or more different labels with commas between: ``2,3``."""

    name = "labels"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """Return how the value is shown on the help page."""
        return "LABEL,LABEL,..."

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Return the labels as text."""
        if isinstance(value, tuple):
            return value
        labels = tuple(part.strip() for part in value.split(","))
        if len(labels) < 2 or len(set(labels)) < len(labels) or "" in labels:
            self.fail(f"got '{value}', expected two or more different labels: 2,3.", param, ctx)
        return labels


class OutputFile(click.ParamType):  # type: ignore[type-arg]  # generic in newer clicks only
    """A file to write, found writable before anything long begins.

    Parameters
    ----------
    suffixes : tuple of str
        Accepted suffixes, by which the format is chosen; any if empty.
    """

    name = "file"

    def __init__(self, *suffixes: str) -> None:
        self.suffixes = suffixes

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the path."""
        path = Path(value)
        if self.suffixes and path.suffix.lower() not in self.suffixes:
            self.fail(
                f"got '{value}', expected a name that ends in {' or '.join(self.suffixes)}.",
                param,
                ctx,
            )
        check_writable(path)
        return path
