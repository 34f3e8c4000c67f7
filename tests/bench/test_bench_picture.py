"""``bench/picture.py``: one bar for each library, drawn from a record."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
from scripts import script

from fastlin.bench.results import Case, Results
from fastlin.errors import InputError

PROGRAM = Path(__file__).parents[2] / "bench" / "picture.py"
PROBLEM = "mnist-softmax-float32-batch128"
MILLISECONDS = {
    "fastlin c": 20.0,
    "fastlin numba": 10.0,
    "fastlin numpy": 5.0,
    "PyTorch, nn.Linear + SGD": 90.0,
    "PyTorch, gradient by hand": 50.0,
    "scikit-learn SGDClassifier": 700.0,
}


@pytest.fixture(scope="module")
def picture() -> ModuleType:
    """The program as a module."""
    return script("bench/picture.py")


def record() -> Results:
    """Return a record of one problem on two threads."""
    cases = [case(name, seconds, 2) for name, seconds in MILLISECONDS.items()]
    cases.append(case("fastlin c", 1.0, n_threads=1))
    return Results(machine={}, n_threads=2, rounds=1, cases=cases)


def case(name: str, milliseconds: float, n_threads: int) -> Case:
    return Case(
        problem=PROBLEM,
        contestant=name,
        kind="kernel" if name.startswith("fastlin") else "peer",
        variant="",
        n_threads=n_threads,
        dtype="float32",
        flops=1.0,
        bytes=1.0,
        seconds=[milliseconds / 1000],
        error=None,
        tolerance=None,
    )


def test_each_library_has_the_bar_of_its_fastest_form(picture: ModuleType, tmp_path: Path) -> None:
    figure = picture.draw(record(), tmp_path / "epoch.svg")
    (axes,) = figure.axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["fastlin, Numba", "fastlin, C", "PyTorch", "scikit-learn SGDClassifier"]
    assert [text.get_text() for text in axes.texts] == ["10 ms", "20 ms", "50 ms", "700 ms"]
    # The last bar is cut at 1.5 times the one before, and marked by two strokes.
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([10, 20, 50, 75])
    assert len(axes.lines) == 2
    assert (tmp_path / "epoch.svg").read_text().startswith("<?xml")


def test_a_record_without_the_problem_is_refused(picture: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"no 'other'; it has '{PROBLEM}'"):
        picture.draw(record(), tmp_path / "epoch.png", problem="other")
