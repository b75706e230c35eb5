"""A page becomes one HTML file: figures inside, nothing fetched, and every text escaped."""

import base64
import hashlib
import importlib.metadata
import importlib.resources
import io
import re

import jinja2
from markupsafe import Markup, escape
from matplotlib.figure import Figure

from recurvature.app.page import Live, Page, Picture

DPI = 220
"""Dots to the inch of figures in a report."""

SCALE = 115
"""CSS pixels to the inch: figures drawn for a journal's width and letters are shown a little larger on a screen."""


SCRIPTS = ("live.js", "sheet.js", "flow.js", "plane.js", "line.js")
"""What a page with live figures runs, in this order."""


def render(page: Page) -> str:
    """The page as a single HTML document that needs no other file.

    Its policy lets nothing be fetched and, where a page has live figures, runs their script alone, told by its hash: a
    name out of a file cannot become a script, even if it were not escaped.
    """
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "ensure_ascii": False, "allow_nan": False}
    # a sign and what stands around it stay on one line
    environment.filters["tie"] = lambda text: text.replace(" = ", "\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}")
    # long names of files and environments go on in the next line at a sign, not within a word
    environment.filters["breakable"] = lambda text: Markup(re.sub("([_:-])", r"\1<wbr>", str(escape(text))))
    live = any(isinstance(block, Live) for section in page.sections for block in section.blocks)
    script = f"{chr(10).join(map(asset, SCRIPTS))}\nbegin();\n" if live else ""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    return environment.from_string(asset("report.html.j2")).render(
        page=page,
        version=importlib.metadata.version("recurvature"),
        # our own files, which hold no text of anybody else
        style=Markup(asset("report.css")),
        script=Markup(script),
        script_hash=f"sha256-{digest}",
    )


def asset(name: str) -> str:
    """The text of one of the files that a report is made with."""
    return importlib.resources.files("recurvature.app").joinpath("assets", name).read_text(encoding="utf-8")


def picture(figure: Figure, caption: str, alt: str) -> Picture:
    """A drawn figure as a picture in the page."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, facecolor="white")
    png = buffer.getvalue()
    # a PNG keeps its width and height in bytes 16 to 24
    width, height = (round(int.from_bytes(png[i : i + 4], "big") * SCALE / DPI) for i in (16, 20))
    return Picture(base64.b64encode(png).decode("ascii"), width, height, caption, alt)
