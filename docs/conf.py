"""Sphinx configuration: every tutorial is executed, every warning is an error."""

import importlib.metadata
import re
from typing import Any

project = "Recurvature"
author = "The Recurvature developers"
copyright = "The Recurvature developers, Apache-2.0"
release = importlib.metadata.version("recurvature")

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.mathjax"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "Recurvature"

myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_timeout = 120
nb_execution_raise_on_error = True
nb_merge_streams = True

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
default_role = "code"

# Docstrings are written as they are read in a terminal: `code`, $math$, **bold** and lists. Here they become markup.
TOKEN = re.compile(r"(``[^`]+``|`[^`]+`|\$\$.+?\$\$|\$[^$]+\$|\*\*[^*\n]+\*\*)", re.DOTALL)
MODULES = re.compile(r"\b(?:jaxlib\._jax|numpy|jaxtyping|collections\.abc|typing)\.")
BULLET = re.compile(r"\s*- ")


def docstring_markup(app: Any, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Translate one docstring in place."""
    parts = TOKEN.split("\n".join(lines))
    lines[:] = _spaced_lists("".join(_translate(part) for part in parts).split("\n"))


def _translate(part: str) -> str:
    if part.startswith("$"):
        return ":math:`" + " ".join(part.strip("$").split()) + "`"
    if part.startswith("`"):
        return "``" + part.strip("`") + "``"
    if part.startswith("**"):
        return part
    return re.sub(r"([*_|\\])", r"\\\1", part)


def _spaced_lists(lines: list[str]) -> list[str]:
    """A list needs an empty line before its first entry."""
    out: list[str] = []
    for line in lines:
        if BULLET.match(line) and out and out[-1].strip() and not BULLET.match(out[-1]) and not out[-1].startswith(" "):
            out.append("")
        out.append(line)
    return out


def short_signature(
    app: Any, what: str, name: str, obj: object, options: object, text: str | None, back: str | None
) -> Any:
    """Type names as they are imported, not as they are installed."""
    return tuple(None if part is None else MODULES.sub("", part) for part in (text, back))


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", docstring_markup)
    app.connect("autodoc-process-signature", short_signature)
