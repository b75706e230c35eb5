"""Numbers as people read them."""

import math

import pytest

from recurvature.app.page import THIN, number, percent, span


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (1.0, "1"),
        (-0.25, "−0.25"),
        (3.14159, "3.14"),
        (0.00123456, "0.00123"),
        (999.6, "1,000"),
        (1234.5, "1,234"),
        (12345.6, "1.2×10⁴"),
        (2e-7, "2.0×10⁻⁷"),
        (-3e12, "−3.0×10¹²"),
        (math.nan, "not finite"),
        (-math.inf, "not finite"),
    ],
)
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("fraction", "text"),
    [
        (1.0, "100"),
        (0.999999, "99.99"),
        (0.9975, "99.75"),
        (0.5, "50"),
        (0.123456, "12.3"),
        (0.0, "0"),
        (1.8, "180"),
        (25.0, "2,500"),
    ],
)
def test_a_share_is_all_only_when_it_is_all(fraction: float, text: str) -> None:
    assert percent(fraction) == f"{text}{THIN}%"


def test_times() -> None:
    assert span(3.21) == f"3.2{THIN}s"
    assert span(125.9) == f"2{THIN}min 5{THIN}s"
