"""The documentation as readers see it, in Chromium: `make test-pages` builds it and runs these."""

from __future__ import annotations

import os
import urllib.parse
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import browser
import pytest

browser.skip_unless_asked()

SITE = Path(__file__).parents[2] / "docs/_build/html"
PAGES = sorted(
    path.relative_to(SITE).as_posix()
    for path in SITE.rglob("*.html")
    if "_static" not in path.parts  # parts of pages
)
READ = [
    page
    for page in PAGES
    if page.startswith("guide/") or "/" not in page or "measurements" in page or "gallery/" in page
]
"""All but the pages of single functions, which are made by one template: some of these suffice."""
SOME = [*READ, *[page for page in PAGES if page not in READ][::12]]
NO_PAGES = ("genindex.html", "search.html")


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    with browser.chromium() as driver:
        yield driver


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with browser.served(SITE) as where:
        yield where


def test_the_site_is_there() -> None:
    assert {"index.html", "install.html", "guide/benchmarks.html"} <= set(PAGES)


@pytest.mark.parametrize("page", SOME)
def test_a_page_is_readable_on_a_phone_and_on_a_desk(driver: Any, address: str, page: str) -> None:
    for width, scheme in ((400, "dark"), (1400, "light"), (1400, "dark"), (400, "light")):
        browser.look(driver, width, scheme)
        driver.get(f"{address}/{page}")
        assert driver.execute_script(browser.TOO_WIDE) == [], f"at {width} pixels"
        assert driver.execute_script(browser.BLIND) == []
        assert driver.execute_script(browser.PALE) == [], scheme
        assert browser.complaints(driver) == []


def test_measurements_can_be_sorted_and_filtered(driver: Any, address: str) -> None:
    browser.look(driver, 1400, "light")
    driver.get(f"{address}/generated/measurements.html")
    rows = "return [...document.querySelectorAll('#measurements tbody tr:not([hidden])')]"
    count = driver.execute_script(f"{rows}.length")
    assert count > 50
    click = "document.querySelectorAll('#measurements th button')[3].click()"
    times = f"{rows}.map((row) => Number(row.cells[3].textContent))"
    driver.execute_script(click)
    assert (found := driver.execute_script(times)) == sorted(found)
    driver.execute_script(click)
    assert driver.execute_script(times) == sorted(found, reverse=True)
    driver.execute_script(
        "const field = document.getElementById('filter');"
        "field.value = 'Softmax float64'; field.dispatchEvent(new Event('input'));"
    )
    assert 0 < driver.execute_script(f"{rows}.length") < count
    assert driver.execute_script(f"{rows}.every((row) => /softmax-float64/.test(row.textContent))")
    assert browser.complaints(driver) == []


class Links(HTMLParser):
    """The links and anchors of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        of = dict(attributes)
        self.anchors |= {value for name in ("id", "name") if (value := of.get(name))}
        for name in ("href", "src"):
            if value := of.get(name):
                self.links.append(value)


def read(page: str) -> Links:
    links = Links()
    links.feed((SITE / page).read_text("utf-8"))
    return links


def test_every_link_leads_somewhere() -> None:
    known = {page: read(page) for page in PAGES}
    lost = []
    for page, links in known.items():
        if page in NO_PAGES:
            continue
        for link in links.links:
            parts = urllib.parse.urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            path = urllib.parse.unquote(parts.path)
            target = os.path.normpath(Path(page).parent / path) if path else page
            if not (SITE / target).exists():
                lost.append(f"{page}: {link}")
            elif parts.fragment and target in known:
                anchors = known[target].anchors
                if urllib.parse.unquote(parts.fragment) not in anchors:
                    lost.append(f"{page}: {link}")
    assert lost == []
