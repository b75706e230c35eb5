"""Live figures: what a browser does with their numbers, and what stands for them where there is none."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from tests.app.conftest import ATTACK

from recurvature._errors import InputError
from recurvature.app import live
from recurvature.app.page import Live, Page, Picture, Section
from recurvature.app.report import picture, render
from recurvature.lenses import warping
from recurvature.systems.inputs import ConstantInputs, Coordinate, box
from recurvature.tasks import ContextDecision

N, TIMES = 5, 6
SPAN = 2.0


@pytest.fixture(scope="module")
def still() -> Picture:
    figure = Figure(figsize=(2, 1))
    figure.add_subplot().plot([0, 1])
    return picture(figure, "still", "still")


def sheet(**changed: Any) -> warping.Sheet:
    """A square that grows with time; its first two coordinates are those of the inputs."""
    theta = ContextDecision().manifold().grid(N)
    time = np.linspace(1, 10, TIMES)
    flat = np.concatenate([theta, theta[:, :1] ** 2], 1)
    fields: dict[str, Any] = {
        "time": time,
        "theta": theta,
        "position": time[:, None, None] * flat,
        "variance": np.array([0.6, 0.3, 0.1]),
        "outputs": time[:, None, None] * theta[None, :, :1],
        "coordinates": ("evidence_1", "evidence_2"),
        "periodic": (False, False),
        "grid": (N, N),
        "space": "state",
    }
    return warping.Sheet(**fields | changed)


def slide(title: str = "one", name: str = "input 1") -> live.Slide:
    """A flow to (a, 0), linear: between the points of a table it is what it is at them."""
    ticks, values = np.linspace(-SPAN, SPAN, N), np.array([-1.0, 0.0, 1.0])
    x, y = np.meshgrid(ticks, ticks, indexing="ij")
    velocity = np.stack([np.stack([a - x, -2 * y], -1) for a in values])
    return live.Slide(title, name, values, velocity, np.stack([x] * 3), [[((a, 0.0), "stable")] for a in values])


def bistable() -> live.Slide:
    """One variable with rate κ − κ³ + a: between the points of a fine table it is what it is at them, nearly."""
    ticks, values = np.linspace(-SPAN, SPAN, 81), np.array([-1.0, 0.0, 1.0])
    rate = np.stack([ticks - ticks**3 + a for a in values])[..., None]
    root = 1.3247179572447460  # of 1 + κ − κ³
    rests = [[((-root,), "stable")], [((k,), "repeller" if k == 0 else "stable") for k in (-1.0, 0.0, 1.0)]]
    return live.Slide("one", "drive", values, rate, np.stack([ticks] * 3), [*rests, [((root,), "stable")]])


def page_of(*blocks: Live) -> str:
    return render(Page("kicker", "title", "subtitle", (Section("one", "One", blocks, "finding"),)))


def figures(still: Picture, title: str = "one") -> tuple[Live, Live]:
    extent = ((-SPAN, SPAN), (-SPAN, SPAN))
    surface = live.sheet(sheet(), ContextDecision().manifold(), still, title)
    return surface, live.flow([slide(title), slide("two")], extent, still, title=title)


def test_tables_are_whole_numbers_of_one_size() -> None:
    values = np.random.default_rng(0).normal(size=(4, 3))
    values[1, 2] = np.nan
    table, scale = live.whole(values)
    known = [v is not None for v in table]
    assert known == np.isfinite(values).ravel().tolist()
    back = np.array([v * scale for v in table if v is not None])
    # rounded to the nearest
    np.testing.assert_allclose(back, values[np.isfinite(values)], atol=scale / 2 * (1 + 1e-12))
    assert max(abs(v) for v in table if v is not None) == live.STEPS
    assert live.whole(np.zeros(2)) == ([0, 0], 1.0)


def test_colours_follow_the_kind_of_values() -> None:
    kinds = [live.kind_of_scale(*ends) for ends in ((-1.0, 1.0), (0.0, 2.0), (0.0, 6.28, True))]
    assert kinds == ["signed", "sequential", "periodic"]


def test_only_curves_and_surfaces_can_be_turned(still: Picture) -> None:
    wide = box(a=(0.0, 1.0), b=(0.0, 1.0), c=(0.0, 1.0))
    three = sheet(coordinates=("a", "b", "c"), grid=(5, 5, 1))
    with pytest.raises(InputError, match="1 or 2 coordinates; got 3"):
        live.sheet(three, ConstantInputs(wide, lambda theta: theta), still, "wide")
    with pytest.raises(InputError, match="1 or 2 coordinates"):
        live.sheet(sheet(grid=()), ContextDecision().manifold(), still, "scattered")


def test_a_plane_has_one_grid(still: Picture) -> None:
    other = slide()._replace(velocity=np.zeros((3, N + 1, N + 1, 2)))
    with pytest.raises(InputError, match="share one square grid"):
        live.flow([slide(), other], ((-1.0, 1.0), (-1.0, 1.0)), still, title="two grids")


def test_a_sheet_that_is_flat_has_a_third_coordinate_of_zero(still: Picture) -> None:
    flat = sheet(position=sheet().position[..., :2], variance=np.array([0.7, 0.3]))
    position = live.sheet(flat, ContextDecision().manifold(), still, "flat").data["position"]
    assert set(position[2::3]) == {0}
    assert any(position[::3])


def test_data_cannot_end_their_table_nor_be_run(still: Picture) -> None:
    html = page_of(*figures(still, f"</script>{ATTACK}<!--"))
    tables = re.findall(r'<script type="application/json">(.*?)</script>', html, re.DOTALL)
    assert [json.loads(table)["title"] for table in tables] == [f"</script>{ATTACK}<!--"] * 2
    # the tables, and the script of the page
    assert html.count("<script") == html.count("</script>") == 3
    assert "script-src 'sha256-" in html
    assert "unsafe-inline'; script-src" in html


def test_without_live_figures_there_is_no_script(still: Picture) -> None:
    html = render(Page("kicker", "title", "subtitle", (Section("one", "One", (still,)),)))
    assert "<script" not in html
    assert "script-src" not in html


def test_numbers_that_are_not_finite_leave_the_page_whole(still: Picture) -> None:
    position, variance = np.array(sheet().position), np.array([np.nan, 0.3, 0.1])
    position[2, 3], position[4, 1, 0] = np.nan, np.inf
    velocity = np.array(slide().velocity)
    velocity[0, 1, 1] = np.inf, np.nan
    surface = live.sheet(sheet(position=position, variance=variance), ContextDecision().manifold(), still, "broken")
    plane = live.flow([slide()._replace(velocity=velocity)], ((-SPAN, SPAN), (-SPAN, SPAN)), still, title="broken")
    tables = re.findall(r'<script type="application/json">(.*?)</script>', page_of(surface, plane), re.DOTALL)
    seen, flow = map(json.loads, tables)
    assert seen["variance"] == [None, 0.3, 0.1]
    # three of the point that is lost, and one of the other
    assert seen["position"].count(None) == 4
    # what rests at that place is drawn as if it did; the scale is that of the others
    assert flow["slides"][0]["fields"][0][2 * (N + 1) : 2 * (N + 1) + 2] == [0, 0]
    assert flow["scale"] == pytest.approx(live.flow([slide()], ((-1.0, 1.0),) * 2, still, title="whole").data["scale"])


def test_a_sheet_that_would_swell_a_page_stays_a_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    assert live.turns(sheet())
    assert not live.turns(sheet(grid=()))
    monkeypatch.setattr(live, "MOST_NUMBERS", sheet().position.size - 1)
    assert not live.turns(sheet())


CHART = {"name": "angle", "low": 0.0, "high": 6.28, "periodic": True, "units": "rad"}


def test_a_ring_keeps_its_units(still: Picture) -> None:
    manifold = ConstantInputs(box(angle=(0.0, 6.28)), lambda theta: theta)
    object.__setattr__(manifold.domain, "coordinates", (Coordinate(**CHART),))  # type: ignore[arg-type]
    ring = sheet(
        theta=np.linspace(0, 6, N)[:, None],
        position=np.zeros((TIMES, N, 3)),
        outputs=np.zeros((TIMES, N, 1)),
        coordinates=("angle",),
        grid=(N,),
    )
    (chart,) = live.sheet(ring, manifold, still, "ring").data["coordinates"]
    assert (chart["units"], chart["kind"], chart["periodic"]) == (" rad", "periodic", True)


def test_a_line_has_one_axis_and_says_how_far_it_is_off_between_inputs(still: Picture) -> None:
    line = live.flow([bistable()], ((-SPAN, SPAN),), still, title="line")
    assert (line.view, line.data["count"], [a["name"] for a in line.data["axes"]]) == ("line", 81, ["κ"])
    assert line.data["slides"][0]["points"][1] == [[-1, "stable"], [0, "repeller"], [1, "stable"]]
    # linear in the input: between inputs it is off by nothing
    assert "off by less than 0.01" in line.caption
    bent = bistable()._replace(velocity=bistable().velocity ** 2)
    # of κ − κ³ + a, squared: a² is missed by a quarter of what one step to each side adds to it, 1 of the largest, 49
    assert "off by about 0.51" in live.flow([bent], ((-SPAN, SPAN),), still, title="line").caption
    with pytest.raises(InputError, match="share one square grid"):
        live.flow([bistable()], ((-1.0, 1.0),) * 2, still, title="line")


@pytest.fixture
def shown(driver_of: Callable[..., Any], still: Picture, tmp_path: Path) -> Callable[..., Any]:
    """A page with a surface and a plane, open in a browser."""
    path = tmp_path / "page.html"
    path.write_text(page_of(*figures(still, ATTACK)), encoding="utf-8")

    def open_at(width: int, scheme: str = "light") -> Any:
        driver = driver_of(path, width, scheme)
        driver.execute_async_script(AFTER_DRAWING)
        return driver

    return open_at


AFTER_DRAWING = "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(() => done()))"


def image(driver: Any, view: str) -> str:
    driver.execute_async_script(AFTER_DRAWING)
    return driver.execute_script(f"return document.querySelector('[data-view={view}] canvas').toDataURL()")


def said(driver: Any, view: str) -> str:
    return driver.execute_script(f"return document.querySelector('[data-view={view}] .said').textContent")


def press(driver: Any, view: str, key: str) -> None:
    event = f"new KeyboardEvent('keydown', {{key: {key!r}, bubbles: true, cancelable: true}})"
    driver.execute_script(f"document.querySelector('[data-view={view}] canvas').dispatchEvent({event})")


def drag(driver: Any, view: str, kind: str, x: float, y: float) -> None:
    """An event of a pointer at a share of the canvas."""
    driver.execute_script(
        f"const canvas = document.querySelector('[data-view={view}] canvas'), box = canvas.getBoundingClientRect();"
        "canvas.setPointerCapture = () => {};"
        f"const at = {{clientX: box.left + {x} * box.width, clientY: box.top + {y} * box.height, bubbles: true}};"
        f"canvas.dispatchEvent(new PointerEvent({kind!r}, at))"
    )


def range_to(driver: Any, view: str, place: float) -> None:
    """Set the slider of inputs."""
    slider = f"const s = document.querySelector('[data-view={view}] input[type=range]');"
    driver.execute_script(f"{slider} s.value = {place}; s.dispatchEvent(new Event('input'))")


@pytest.mark.parametrize("width", [1280, 390])
def test_live_figures_fit_their_page_and_follow_the_colours(shown: Callable[..., Any], width: int) -> None:
    driver = shown(width)
    assert driver.get_log("browser") == []
    assert driver.execute_script("return document.documentElement.scrollWidth") <= width
    assert driver.execute_script("return document.querySelectorAll('.live.on').length") == 2
    before = image(driver, "sheet"), image(driver, "plane")
    driver.execute_script("document.querySelector('#theme-dark').click()")
    background = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert np.mean([int(v) for v in re.findall(r"\d+", background)[:3]]) < 60
    assert image(driver, "sheet") != before[0]
    assert image(driver, "plane") != before[1]


def test_a_surface_turns_plays_and_names_its_points(shown: Callable[..., Any]) -> None:
    driver = shown(1280)
    views = [image(driver, "sheet")]
    drag(driver, "sheet", "pointerdown", 0.5, 0.5)
    drag(driver, "sheet", "pointermove", 0.6, 0.5)
    drag(driver, "sheet", "pointerup", 0.6, 0.5)
    views.append(image(driver, "sheet"))
    for key in ("ArrowUp", "ArrowLeft", "+"):
        press(driver, "sheet", key)
        views.append(image(driver, "sheet"))
    slider = "const s = document.querySelector('[data-view=sheet] input[type=range]');"
    driver.execute_script(slider + "s.value = 1; s.dispatchEvent(new Event('input'))")
    views.append(image(driver, "sheet"))
    press(driver, "sheet", "Escape")
    press(driver, "sheet", ".")
    # the first point of the grid, at the second of six times: an output of 2.8 times the first coordinate
    assert said(driver, "sheet") == "evidence 1 = −0.2, evidence 2 = −0.2, output −0.56"
    views.append(image(driver, "sheet"))
    paint = "const s = document.querySelector('[data-view=sheet] select');"
    driver.execute_script(paint + "s.value = 1; s.dispatchEvent(new Event('change'))")
    views.append(image(driver, "sheet"))
    assert len(set(views)) == len(views)
    press(driver, "sheet", " ")
    assert driver.execute_script("return document.querySelector('[data-view=sheet] button').textContent") == "Pause"
    driver.execute_async_script("setTimeout(arguments[0], 700)")
    # it stops at the last of six times by itself
    assert driver.execute_script(slider + "return s.value") == str(TIMES - 1)
    assert driver.execute_script("return document.querySelector('[data-view=sheet] button').textContent") == "Play"


def test_a_path_in_the_plane_ends_where_the_flow_does(shown: Callable[..., Any]) -> None:
    driver = shown(1280)
    before = image(driver, "plane")
    drag(driver, "plane", "pointermove", 0.5, 0.3)
    assert said(driver, "plane").endswith("to (0, 0), where the output is 0")
    drag(driver, "plane", "click", 0.5, 0.3)
    kept = image(driver, "plane")
    range_to(driver, "plane", 2)
    drag(driver, "plane", "pointermove", 0.45, 0.3)
    # the flow under this input ends at (1, 0)
    assert said(driver, "plane").endswith("to (1, 0), where the output is 1")
    views = {before, kept, image(driver, "plane")}
    # halfway between two tabulated inputs: the flow, the point and the words are those of the mean
    range_to(driver, "plane", 1.5)
    drag(driver, "plane", "pointermove", 0.45, 0.3)
    assert said(driver, "plane").endswith("to (0.5, 0), where the output is 0.5")
    clock = "return document.querySelector('[data-view=plane] .clock').textContent"
    assert driver.execute_script(clock) == "input 1 = 0.5, interpolated"
    assert len({*views, image(driver, "plane")}) == 4
    press(driver, "plane", "Escape")
    press(driver, "plane", "ArrowLeft")
    assert "from (−0.1, 0)" in said(driver, "plane")


def test_a_start_on_the_line_is_dragged_and_runs_to_where_it_rests(
    driver_of: Callable[..., Any], still: Picture, tmp_path: Path
) -> None:
    path = tmp_path / "line.html"
    path.write_text(page_of(live.flow([bistable()], ((-SPAN, SPAN),), still, title=ATTACK)), encoding="utf-8")
    driver = driver_of(path, 390, "light")
    assert driver.execute_script("return document.documentElement.scrollWidth") <= 390
    views = [image(driver, "line")]
    drag(driver, "line", "pointerdown", 0.4, 0.3)
    assert "to −1 in" in said(driver, "line")
    views.append(image(driver, "line"))
    drag(driver, "line", "pointermove", 0.8, 0.3)
    assert "to 1 in" in said(driver, "line")
    drag(driver, "line", "pointerup", 0.8, 0.3)
    driver.execute_async_script("setTimeout(arguments[0], 500)")
    # it is on its way
    views.append(image(driver, "line"))
    range_to(driver, "line", 0)
    assert "to −1.32 in" in said(driver, "line")
    views.append(image(driver, "line"))
    # between tables the table of means has its own zeros: 0.5 + κ − κ³ has the root 1.19
    range_to(driver, "line", 1.5)
    assert "to 1.19 in" in said(driver, "line")
    views.append(image(driver, "line"))
    press(driver, "line", "ArrowLeft")
    assert "from " in said(driver, "line")
    views.append(image(driver, "line"))
    assert len(set(views)) == len(views)
    assert driver.get_log("browser") == []


def test_a_hostile_title_is_an_option_like_any_other(shown: Callable[..., Any]) -> None:
    driver = shown(1280)
    names = driver.execute_script(
        "return [...document.querySelectorAll('[data-view=plane] select option')].map(o => o.text)"
    )
    assert names == [ATTACK, "two"]
    assert driver.get_log("browser") == []


def test_print_shows_the_pictures(shown: Callable[..., Any]) -> None:
    driver = shown(1280, "dark")
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    style = "return [...document.querySelectorAll('{}')].map(e => getComputedStyle(e).{})"
    assert driver.execute_script(style.format(".stage", "display")) == ["none", "none"]
    assert driver.execute_script(style.format(".plate", "display")) == ["block", "block"]
    assert driver.execute_script(style.format("body", "backgroundColor")) == ["rgb(255, 255, 255)"]
    assert len(driver.execute_cdp_cmd("Page.printToPDF", {})["data"]) > 1000
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
