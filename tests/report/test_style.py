"""Colours of the pages, without a browser."""

import re
from pathlib import Path

import pytest

from report import charts


@pytest.mark.parametrize("theme", [0, 1])
def test_contrast_is_enough(theme: int) -> None:
    """WCAG 2.2: text 4.5 to 1, and what a picture is made of 3 to 1."""
    style = (Path(charts.__file__).parent / "templates" / "style.css").read_text()
    colours = [dict(re.findall(r"--([a-z]+): (#[0-9a-f]{6})", part)) for part in style.split("@media")[:2]][theme]
    for name in ("ink", "muted", "link", "good", "bad", "other", "model"):
        for ground in ("paper", "soft"):
            assert _contrast(colours[name], colours[ground]) >= 4.5, (name, ground)
    tints = dict(re.findall(r"--(gain|loss): (\d+ \d+ \d+)", style.split("@media")[theme]))
    for tint, name in (("gain", "good"), ("loss", "bad")):
        assert "#" + bytes(map(int, tints[tint].split())).hex() == colours[name]


def _contrast(one: str, other: str) -> float:
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
