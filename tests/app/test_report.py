"""The report: one file that escapes what it quotes, and that a browser shows whole, wide and narrow, light and dark."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from tests.app.conftest import ATTACK, Demo

from recurvature.app.page import Code, Fact, Facts, Notice, Page, Points, References, Section, Table, Text
from recurvature.app.report import DPI, SCALE, picture, render

REQUIRED = os.environ.get("RECURVATURE_REQUIRE_BROWSER") == "1"


def everything(text: str) -> Page:
    figure = Figure(figsize=(2, 1))
    figure.add_subplot().plot([0, 1])
    blocks = (
        Text(text),
        Points(((text, text),)),
        Code(text),
        Notice(text, text),
        Facts((Fact(text, text, text),)),
        Table((text,), ((text,),), text),
        References(((text, f"javascript:{text}"), (text, f"https://example.org/{text}"))),
        picture(figure, text, text),
    )
    return Page(text, text, text, (Section(text, text, blocks),))


def test_every_text_is_escaped() -> None:
    html = render(everything(ATTACK + "\" onload='x' {{ 7 * 7 }}"))
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    # quotes cannot end an attribute
    assert not re.search(r"[^=]\"\s+onload=", html.replace("&#34;", ""))
    assert "{{ 7 * 7 }}" in html
    assert 'href="javascript' not in html


def test_nothing_is_fetched() -> None:
    html = render(everything("text"))
    sources = re.findall(r"(?:src|href|url)\s*[=(]\s*[\"']?([^\"'\s>)]+)", html)
    assert sources
    assert all(s.startswith(("data:", "#", "https://example.org/")) for s in sources)
    # a link to a paper is followed by a reader's click only
    assert 'src="https' not in html
    assert "default-src 'none'" in html


def test_a_picture_keeps_its_drawn_size() -> None:
    figure = Figure(figsize=(4, 2))
    figure.add_subplot()
    shown = picture(figure, "caption", "alt")
    assert DPI >= 150
    # a tight box leaves out the empty margins of 4 by 2 inches, and adds 0.06 on each side
    assert 0.7 * 4 * SCALE < shown.width < 4.2 * SCALE
    assert 0.7 * 2 * SCALE < shown.height < 2.2 * SCALE


@pytest.fixture(scope="module")
def driver_of() -> Iterator[Callable[..., Any]]:
    """Opens a file in headless Chromium at a width and colour scheme."""
    browser, helper = shutil.which("chromium"), shutil.which("chromedriver")
    if browser is None or helper is None:
        if REQUIRED:
            pytest.fail("RECURVATURE_REQUIRE_BROWSER=1, but chromium or chromedriver is not installed")
        pytest.skip("chromium and chromedriver are not installed (Debian: chromium chromium-driver)")
    selenium = pytest.importorskip("selenium.webdriver")
    options = selenium.ChromeOptions()
    options.binary_location = browser
    for switch in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"):
        options.add_argument(switch)
    for switch in ("--disable-background-networking", "--disable-component-update", "--disable-sync"):
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = selenium.Chrome(options=options, service=selenium.ChromeService(helper))
    try:
        yield lambda path, width, scheme: _open(driver, path, width, scheme)
    finally:
        driver.quit()


def _open(driver: Any, path: Path, width: int, scheme: str) -> Any:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    driver.get(path.as_uri())
    return driver


@pytest.mark.parametrize("width", [1200, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_shows_the_whole_report(driver_of: Callable[..., Any], demo: Demo, width: int, scheme: str) -> None:
    driver = driver_of(demo.folder / "report.html", width, scheme)
    assert driver.get_log("browser") == []
    widths = driver.execute_script("return [...document.images].map(i => i.complete ? i.naturalWidth : 0)")
    assert len(widths) >= 10
    assert min(widths) > 0
    assert driver.execute_script("return window.innerWidth") == width
    assert driver.execute_script("return document.documentElement.scrollWidth") <= width
    background = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
    brightness = np.mean([int(v) for v in re.findall(r"\d+", background)[:3]])
    assert brightness > 200 if scheme == "light" else brightness < 60
    # figures are drawn in dark ink: their card stays white
    card = driver.execute_script("return getComputedStyle(document.querySelector('.plate')).backgroundColor")
    assert card == "rgb(255, 255, 255)"


def test_a_hostile_name_is_shown_and_not_run(driver_of: Callable[..., Any], foreign: Path) -> None:
    driver = driver_of(foreign / "report.html", 1200, "light")
    assert driver.get_log("browser") == []
    assert driver.execute_script("return document.scripts.length") == 0
    assert ATTACK in driver.execute_script("return document.body.innerText")
