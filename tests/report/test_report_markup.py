"""A report on data whose name and labels are markup shows them as they are, and runs nothing."""

from __future__ import annotations

from collections import Counter
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from processes import first_of
from pypdf import PdfReader
from sklearn.datasets import load_digits

from fastlin.errors import CONTROLS
from fastlin.report import Settings, write_report

X, Y = load_digits(return_X_y=True)
QUICK = Settings(binary_epochs=2, softmax_epochs=2, gradient_rows=5)
NAME = """<script>alert(1)<b onclick='x'>&amp;"#panic()$x$"""
LABELS = (
    "<script>alert(2)",
    '"><img src=x onerror=x>',
    "#panic($x$)",
    "$\\frac{",
    "-->]]>&lt;",
    "\\u{0}*b*_i_@fig",
    "= [#read(1)]//",
    "\x1b[31m\x00\u202ered\x9b",
    "λ = 5.5 %",
    "x" * 900,
)
SHOWN_LABELS = (r"\x1b[31m\x00\u202ered\x9b", *sorted(LABELS[:7]), "x" * 37 + "...")


class Page(HTMLParser):
    """The elements of a page, their attributes, and its text."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: Counter[str] = Counter()
        self.attributes: Counter[str] = Counter()
        self.text = ""
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.elements[tag] += 1
        self.attributes.update(name for name, _ in attrs)

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module", params=first_of(1, ["images", "rows"]))
def reports(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Write the report on the digits, and on the same digits under the names above."""
    folder = tmp_path_factory.mktemp("markup")
    shape = (-1, 8, 8) if request.param == "images" else (-1, 64)
    for out, name, labels in (("plain", "plain", "abcdefghij"), ("markup", NAME, LABELS)):
        path, words = folder / f"{name}.npz", np.array(list(labels))
        arrays = {"X_train": X.reshape(shape), "y_train": words[Y]}
        np.savez(path, **arrays, X_val=X[:200].reshape(-1, *shape[1:]), y_val=words[Y[:200]])
        write_report(folder / out, str(path), backend="numpy", progress=False, settings=QUICK)
    return [folder / "plain", folder / "markup"]


def elements(folder: Path) -> set[str]:
    """Return the kinds of elements in all figures."""
    return {
        element.tag.rpartition("}")[2]
        for path in folder.glob("*.svg")
        for element in ElementTree.parse(path).iter()
    }


def test_the_page_has_no_element_or_attribute_more(reports: list[Path]) -> None:
    plain, markup = (Page((out / "report.html").read_text()) for out in reports)
    assert "script" not in markup.elements
    assert markup.elements.keys() == plain.elements.keys()
    assert markup.attributes.keys() == plain.attributes.keys()
    shown = "".join(markup.text.split())
    for text in (NAME[:37], *SHOWN_LABELS[:2]):
        assert "".join(text.split()) in shown, text


def test_the_pages_hold_no_control_characters(reports: list[Path]) -> None:
    for name in ("report.html", "metrics.json"):
        assert not CONTROLS.search((reports[1] / name).read_text().replace("\n", ""))


def test_the_pdf_has_the_name_in_its_title(reports: list[Path]) -> None:
    metadata = PdfReader(reports[1] / "report.pdf").metadata
    assert metadata is not None
    assert metadata.title == f"Single-layer networks on {NAME[:37]}..."


def test_the_figures_have_no_element_more(reports: list[Path]) -> None:
    assert elements(reports[1]) <= elements(reports[0])


def test_labels_are_shown_as_they_are(reports: list[Path]) -> None:
    """Beside the axes of the weights, where dollars would begin mathematics."""
    comments = (reports[1] / "task_4b_weights.svg").read_text()
    for label in SHOWN_LABELS:
        assert f"<!-- {escape(label, quote=False).replace('--', '- -')} -->" in comments, label
