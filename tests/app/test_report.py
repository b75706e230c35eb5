"""The report: one file that escapes what it quotes, and that a browser shows whole, wide and narrow, light and dark."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from tests.app.conftest import ATTACK, Demo

from recurvature.app.page import Code, Fact, Facts, Notice, Page, Points, References, Section, Table, Text
from recurvature.app.report import DPI, SCALE, picture, render


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
    return Page(text, text, text, (Section(text, text, blocks, text),))


def test_every_text_is_escaped() -> None:
    html = render(everything(ATTACK + "\" onload='x' {{ 7 * 7 }}"))
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    # quotes cannot end an attribute
    assert not re.search(r"[^=]\"\s+onload=", html.replace("&#34;", ""))
    assert "{{ 7 * 7 }}" in html
    assert 'href="javascript' not in html


def test_a_long_name_in_a_title_may_break_at_its_signs() -> None:
    html = render(Page("kicker", "a_b:<c>", "subtitle", ()))
    assert "<h1>a_<wbr>b:<wbr>&lt;c&gt;</h1>" in html


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


@pytest.mark.parametrize("width", [1200, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_shows_the_whole_report(driver_of: Callable[..., Any], demo: Demo, width: int, scheme: str) -> None:
    driver = driver_of(demo.folder / "report.html", width, scheme)
    assert driver.get_log("browser") == []
    assert (
        driver.execute_script(
            "return performance.getEntriesByType('resource').filter(e => !e.name.startsWith('data:')).length"
        )
        == 0
    )
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
    # the sheets of both contexts and the plane of the latent variables
    assert driver.execute_script("return document.querySelectorAll('.live.on canvas').length") == 3


def test_a_hostile_name_is_shown_and_not_run(driver_of: Callable[..., Any], foreign: Path) -> None:
    driver = driver_of(foreign / "report.html", 1200, "light")
    assert driver.get_log("browser") == []
    # tables of numbers, and the one script that the page allows
    kinds = driver.execute_script("return [...document.scripts].map(s => s.type)")
    assert set(kinds) <= {"application/json", ""}
    assert kinds.count("") <= 1
    assert ATTACK in driver.execute_script("return document.body.innerText")
