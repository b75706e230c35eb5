"""What a report is made of: a page of sections, each a row of blocks. Nothing here knows HTML or matplotlib."""

import dataclasses
from typing import Any, ClassVar, Literal


@dataclasses.dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str
    kind: ClassVar[str] = "text"


@dataclasses.dataclass(frozen=True)
class Heading:
    """A heading inside a section."""

    text: str
    kind: ClassVar[str] = "heading"


@dataclasses.dataclass(frozen=True)
class Notice:
    """Something that the reader must not miss: a warning, or good news."""

    label: str
    text: str
    good: bool = False
    kind: ClassVar[str] = "notice"


@dataclasses.dataclass(frozen=True)
class Points:
    """A list of sentences, each with a label in front (or none: an empty one)."""

    items: tuple[tuple[str, str], ...]
    kind: ClassVar[str] = "points"


@dataclasses.dataclass(frozen=True)
class Code:
    """Something to type, or printed as it is."""

    text: str
    kind: ClassVar[str] = "code"


@dataclasses.dataclass(frozen=True)
class References:
    """Papers: text and address."""

    items: tuple[tuple[str, str], ...]
    kind: ClassVar[str] = "references"


@dataclasses.dataclass(frozen=True)
class Fact:
    """One key number, ready to print, and what it means."""

    name: str
    value: str
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Facts:
    """A row of key numbers."""

    items: tuple[Fact, ...]
    kind: ClassVar[str] = "facts"


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of ready-made cells."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""
    kind: ClassVar[str] = "table"


@dataclasses.dataclass(frozen=True)
class Picture:
    """A figure as a PNG in base64, its size in CSS pixels, and its caption."""

    png: str
    width: int
    height: int
    caption: str
    alt: str
    kind: ClassVar[str] = "picture"


@dataclasses.dataclass(frozen=True)
class Live:
    """A figure that a reader can turn or play with, and the picture that stands for it in print and without scripts.

    `view` names the script that draws it, `data` is what it draws: JSON of numbers and texts.
    """

    view: Literal["sheet", "plane", "line"]
    data: dict[str, Any]
    picture: Picture
    caption: str
    kind: ClassVar[str] = "live"


Block = Text | Heading | Notice | Points | Code | References | Facts | Table | Picture | Live


@dataclasses.dataclass(frozen=True)
class Section:
    """A titled row of blocks, under one sentence that says what was found (or none: an empty one)."""

    anchor: str
    title: str
    blocks: tuple[Block, ...]
    finding: str = ""


@dataclasses.dataclass(frozen=True)
class Page:
    """A whole report."""

    kicker: str
    title: str
    subtitle: str
    sections: tuple[Section, ...]

    @property
    def told(self) -> bool:
        """Whether the sections tell a story, whose sentences then stand in the table of contents."""
        return any(section.finding for section in self.sections)


THIN = "\N{NARROW NO-BREAK SPACE}"
"""Between a number and its unit."""


def number(value: float, digits: int = 3) -> str:
    """`value` with `digits` significant digits, in the notation that people read."""
    if value != value or value in (float("inf"), -float("inf")):
        return "not finite"
    if value == 0:
        return "0"
    if 1e-3 <= abs(value) < 1e4:
        text = f"{value:.{digits}g}"
        # a whole part is never rounded to fewer digits than it has
        return (text if "e" not in text else f"{value:,.0f}").replace("-", "−")
    mantissa, exponent = f"{value:.{digits - 2}e}".split("e")
    return f"{mantissa}×10{_superscript(int(exponent))}".replace("-", "−")


def _superscript(exponent: int) -> str:
    return str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def percent(fraction: float) -> str:
    """A fraction as a percentage; what is less than all is never rounded up to 100."""
    if fraction == 1:
        return f"100{THIN}%"
    if fraction > 1:
        return f"{number(fraction * 100)}{THIN}%"
    digits = 4 if fraction > 0.99 else 3
    return f"{min(fraction * 100, 99.99):.{digits}g}{THIN}%"


def span(seconds: float) -> str:
    """A time in words."""
    if seconds < 90:
        return f"{seconds:.1f}{THIN}s"
    return f"{int(seconds // 60)}{THIN}min {int(seconds % 60)}{THIN}s"
