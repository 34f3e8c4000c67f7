"""A headless Chromium for tests, and what one asks of a page in it."""

from __future__ import annotations

import contextlib
import functools
import http.server
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

PROGRAMS = ("chromium", "chromedriver")

OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--force-color-profile=srgb",
)

TOO_WIDE = """
const width = document.documentElement.clientWidth;
if (document.documentElement.scrollWidth <= width + 1) return [];
return [...document.querySelectorAll("body *")]
  .filter((one) => one.getBoundingClientRect().right > width + 1)
  .map((one) => one.outerHTML.slice(0, 120)).slice(0, 3);
"""
"""What makes a page wider than the window, so that one has to scroll to read a line."""

BLIND = """
return [...document.querySelectorAll("main img, body > img, article img, figure img")]
  .filter((one) => !one.closest(".sphx-glr-thumbcontainer"))  // beside their own titles
  .filter((one) => !one.alt.trim() || !one.naturalWidth)
  .map((one) => one.outerHTML.slice(0, 120));
"""
"""Pictures without an alternative text, or that cannot be shown."""

PALE = r"""
const parse = (text) => (text.match(/[\d.]+/g) || []).map(Number);
const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
  .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
  .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
const behind = (one) => {
  for (; one; one = one.parentElement) {
    const found = parse(getComputedStyle(one).backgroundColor);
    if (found.length === 3 || found[3] > 0.5) return found;
  }
  return [255, 255, 255];
};
return [...document.querySelectorAll("main p, main h1, main h2, main td, body > p, section p, td")]
  .filter((one) => one.innerText && one.innerText.trim() && one.offsetParent)
  .filter((one) => {
    const [a, b] = [light(parse(getComputedStyle(one).color)), light(behind(one))];
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) < 4.5;
  })
  .map((one) => one.outerHTML.slice(0, 120)).slice(0, 3);
"""
"""Text whose contrast is below the 4.5 that WCAG 2.1 asks for."""


def skip_unless_asked() -> None:
    """Skip a file of tests unless `make test-pages` runs it, on a machine with a browser."""
    if not os.environ.get("FASTLIN_TEST_PAGES"):
        pytest.skip("`make test-pages` makes the pages first", allow_module_level=True)
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        pytest.skip(f"{' and '.join(missing)} are not installed", allow_module_level=True)


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on this machine, as a static host does; yield its address."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def chromium() -> Iterator[webdriver.Chrome]:
    """Yield a browser without a window."""
    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for option in OPTIONS:
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, Service(shutil.which("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


def look(driver: webdriver.Chrome, width: int, scheme: str) -> None:
    """Make the window so wide, and tell pages whether to be light or dark."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)


def complaints(driver: webdriver.Chrome) -> list[str]:
    """Return the errors that the console got since it was last asked."""
    return [one["message"] for one in driver.get_log("browser") if one["level"] == "SEVERE"]
