"""The report's page as readers see it, in Chromium: `make test-pages` writes it and runs these."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import browser
import pytest
from pypdf import PdfReader

browser.skip_unless_asked()

REPORT = Path(os.environ.get("FASTLIN_TEST_REPORT", "report")).resolve()


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    with browser.chromium() as driver, browser.served(REPORT) as address:
        browser.look(driver, 1400, "light")
        driver.get(f"{address}/report.html")
        yield driver


@pytest.mark.parametrize("width", [400, 1400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_readable(driver: Any, width: int, scheme: str) -> None:
    browser.look(driver, width, scheme)
    driver.refresh()
    assert driver.execute_script(browser.TOO_WIDE) == []
    assert driver.execute_script(browser.BLIND) == []
    assert driver.execute_script(browser.PALE) == []
    assert browser.complaints(driver) == []


def test_formulas_are_drawn(driver: Any) -> None:
    browser.look(driver, 1400, "light")
    sizes = driver.execute_script(
        "return [...document.querySelectorAll('math')].map((one) => {"
        "const box = one.getBoundingClientRect(); return [box.width, box.height]; })"
    )
    assert len(sizes) > 20
    assert all(width > 2 and height > 5 for width, height in sizes)
    # A fraction is drawn as one: what is above the bar is higher than what is below.
    assert driver.execute_script(
        "const [above, below] = document.querySelector('mfrac').children;"
        "return above.getBoundingClientRect().top < below.getBoundingClientRect().top;"
    )


def test_figures_are_sharp(driver: Any) -> None:
    browser.look(driver, 1400, "light")
    shown = driver.execute_script(
        "return [...document.images].map((one) => [one.currentSrc.slice(0, 40), one.naturalWidth,"
        "one.getBoundingClientRect().width])"
    )
    assert len(shown) >= 9
    blurred = [
        source
        for source, natural, width in shown
        if ".svg" not in source and "svg+xml" not in source and natural < 1.5 * width
    ]
    assert blurred == []


def test_it_can_be_printed(driver: Any) -> None:
    made = driver.execute_cdp_cmd("Page.printToPDF", {"printBackground": False})
    pages = PdfReader(io.BytesIO(base64.b64decode(made["data"]))).pages
    assert 5 <= len(pages) <= 60
    text = "".join(page.extract_text() for page in pages)
    assert text.count("Figure") >= 9


def test_every_link_is_reached_by_the_keyboard(driver: Any) -> None:
    browser.look(driver, 1400, "light")
    found = driver.execute_script(
        "return [...document.querySelectorAll('a[href], summary, button')]"
        ".filter((one) => one.tabIndex < 0).map((one) => one.outerHTML.slice(0, 80))"
    )
    assert found == []
    lost = driver.execute_script(
        "return [...document.querySelectorAll('a[href^=\"#\"]')].map((one) => one.hash.slice(1))"
        ".filter((name) => !document.getElementById(decodeURIComponent(name)))"
    )
    assert lost == []
    # What scrolls sideways must scroll without a mouse.
    stuck = driver.execute_script(
        "return [...document.querySelectorAll('body *')]"
        ".filter((one) => one.scrollWidth > one.clientWidth + 1 && one.tabIndex < 0 &&"
        "/auto|scroll/.test(getComputedStyle(one).overflowX))"
        ".map((one) => one.outerHTML.slice(0, 80))"
    )
    assert stuck == []
