"""A page becomes one HTML file: figures inside, nothing fetched, and every text escaped."""

import base64
import importlib.metadata
import importlib.resources
import io

import jinja2
from matplotlib.figure import Figure

from recurvature.app.page import Page, Picture

DPI = 220
"""Dots to the inch of figures in a report."""

SCALE = 115
"""CSS pixels to the inch: figures drawn for a journal's width and letters are shown a little larger on a screen."""


def render(page: Page) -> str:
    """The page as a single HTML document that needs no other file."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    # a sign and what stands around it stay on one line
    environment.filters["tie"] = lambda text: text.replace(" = ", "\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}")
    source = importlib.resources.files("recurvature.app").joinpath("report.html.j2").read_text(encoding="utf-8")
    return environment.from_string(source).render(page=page, version=importlib.metadata.version("recurvature"))


def picture(figure: Figure, caption: str, alt: str) -> Picture:
    """A drawn figure as a picture in the page."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, facecolor="white")
    png = buffer.getvalue()
    # a PNG keeps its width and height in bytes 16 to 24
    width, height = (round(int.from_bytes(png[i : i + 4], "big") * SCALE / DPI) for i in (16, 20))
    return Picture(base64.b64encode(png).decode("ascii"), width, height, caption, alt)
