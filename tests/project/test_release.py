"""What a release is made of: tags of wheels, open bounds, the citation, the results' page."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from scripts import ROOT, script

import fastlin
from fastlin.advice import DeprecatedWarning


@pytest.mark.parametrize(
    ("tag", "limit", "right"),
    [
        ("manylinux_2_5_x86_64", "manylinux_2_17_x86_64", True),
        ("manylinux_2_17_x86_64", "manylinux_2_17_x86_64", True),
        ("manylinux_2_34_x86_64", "manylinux_2_17_x86_64", False),
        ("manylinux_2_17_aarch64", "manylinux_2_17_x86_64", False),
        ("linux_x86_64", "manylinux_2_17_x86_64", False),
    ],
)
def test_a_wheel_must_not_ask_for_a_newer_system(tag: str, limit: str, right: bool) -> None:
    assert script("release/wheels.py").at_most(tag, limit) is right


def test_the_newest_versions_have_no_upper_bound() -> None:
    opened = script("tests/newest.py").opened
    assert str(opened(Requirement("numba>=0.60,<0.69"))) == "numba>=0.60"
    assert str(opened(Requirement("mypy>=2.4,<2.5"))) == "mypy<2.5,>=2.4"
    marked = opened(Requirement("atheris>=3.0,<4; python_version < '3.14'"))
    assert str(marked) == 'atheris>=3.0; python_version < "3.14"'


def test_the_citation_and_the_changelog_name_this_version() -> None:
    citation = (ROOT / "CITATION.cff").read_text("utf-8")
    version = re.search(r"^version: (.+)$", citation, re.MULTILINE)
    date = re.search(r'^date-released: "(.+)"$', citation, re.MULTILINE)
    assert version is not None
    assert date is not None
    assert version[1] == fastlin.__version__
    heading = f"## {fastlin.__version__} - {date[1]}"
    assert heading in (ROOT / "CHANGELOG.md").read_text("utf-8").splitlines()


def test_what_is_deprecated_warns_at_the_users_line() -> None:
    with pytest.warns(DeprecatedWarning, match=r"fastlin\.batches is deprecated .* 0\.4") as told:
        from fastlin.batches import Batches
    assert told[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        from fastlin.solvers.batches import Batches as Now
    assert Batches is Now
    with pytest.raises(AttributeError, match="no attribute 'Anything'"):
        _ = fastlin.batches.Anything


def test_the_pages_tables_are_those_of_the_records(tmp_path: Path) -> None:
    kept = ROOT / "docs/guide/tables"
    for machine in ("zen5", "xeon16"):
        script("bench/tables.py").main(ROOT / "bench/records" / machine, tmp_path)
    made = {path.name: path.read_text("utf-8") for path in tmp_path.iterdir()}
    assert made == {path.name: path.read_text("utf-8") for path in kept.iterdir()}


def test_the_grids_page_is_that_of_its_records(tmp_path: Path) -> None:
    records = sorted((ROOT / "bench/records/zen5/grid").glob("*.json"))
    script("bench/grid.py").main(tmp_path / "grid.png", tmp_path / "grid.rst", records)
    made = (tmp_path / "grid.rst").read_text("utf-8")
    assert made == (ROOT / "docs/guide/grid.rst").read_text("utf-8")
    assert made.count(" / ") > 4 * 4 * 12, "a type of rows is missing"


def test_all_measurements_are_in_one_table() -> None:
    page = script("docs/results_page.py")
    rows = [row for record in sorted(page.RECORDS.rglob("*.json")) for row in page.lines(record)]
    assert len(rows) > 50
    assert all(row[-1] for row in rows), "a record without a date"
    problems = {row[0] for row in rows}
    # The fastest of fastlin's kernels is the unit.
    for problem in problems:
        assert "1.00" in {row[4] for row in rows if row[0] == problem}
    made = page.table([("<b>", "c & d", "2", "1.000", "1.00", "x", "2026-01-01")])
    assert "&lt;b&gt;" in made
    assert "c &amp; d" in made
