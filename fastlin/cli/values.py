"""Types of option values; their errors say what was expected."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from fastlin.results.output_file import check_writable


class Integer(click.IntRange):
    """A whole number within click's limits, which the help page shows."""

    name = "integer"


class Number(click.FloatRange):
    """A finite number within click's limits, or one of some words that stand for something else.

    Parameters
    ----------
    words : mapping, optional
        Accepted words and their values.
    **limits
        As :class:`click.FloatRange` takes them: ``min``, ``max``, ``min_open``, ``max_open``.
    """

    name = "number"

    def __init__(self, *, words: Mapping[str, Any] | None = None, **limits: Any) -> None:
        super().__init__(**limits)
        self.words = words or {}

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """Return how the value is shown on the help page."""
        return "|".join(["NUMBER", *self.words])

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number or the word's value."""
        if str(value).lower() in self.words:
            return self.words[str(value).lower()]
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not finite.", param, ctx)
        return number


class InputScale(click.ParamType):  # type: ignore[type-arg]  # generic in newer clicks only
    """``none``, ``minmax``, ``standard``, ``auto``, or two numbers ``SHIFT,SCALE``."""

    name = "scale"
    words = ("auto", "none", "minmax", "standard")

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
    """Two or more different labels, separated by commas: ``2,3``."""

    name = "labels"

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
    """A file to write, checked to be writable before any long work.

    Parameters
    ----------
    suffixes : tuple of str
        Accepted suffixes, which choose the format; any if empty.
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
