"""Plots as SVG: axes with round ticks, dots that say whose they are, lines and bands. Arrays in, text out.

Written here rather than drawn by a plotting library, which took most of the time of a large cohort's page and whose
dots cannot tell their subject when one rests on them.
"""

import math
from collections.abc import Sequence
from html import escape

import numpy as np

INK, FAINT = "#1d2733", "#9aa5b1"
FONT, PAD = 11, 0.06
"""Size of the letters in pixels; room beyond the outermost values, as a share of their range."""

Limits = tuple[float, float]


def ticks(low: float, high: float, most: int = 4) -> list[float]:
    """At most so many round numbers between two values.

    >>> ticks(0.61, 0.88), ticks(-1.6, 0.35, 3)
    ([0.7, 0.8], [-1.0, 0.0])
    """
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    found: list[float] = []
    for step in (power * factor for factor in (1, 2, 2.5, 5, 10)):
        found = [round(n * step, 10) for n in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]
        if len(found) <= most:
            break
    return found


def tick_texts(values: Sequence[float]) -> list[str]:
    """Numbers with as many decimals as the one that needs most.

    >>> tick_texts([-0.5, 0.0, 1.25])
    ['−0.50', '0.00', '1.25']
    """
    decimals = max((len(f"{value:.10f}".rstrip("0").partition(".")[2]) for value in values), default=0)
    return [f"{value:.{decimals}f}".replace("-", "−") for value in values]


def limits_of(*values: np.ndarray | Sequence[float]) -> Limits:
    """The ends of some axes that hold all finite values, with room beyond them."""
    flat = np.concatenate([np.ravel(np.asarray(one, float)) for one in values])
    flat = flat[np.isfinite(flat)]
    low, high = (float(flat.min()), float(flat.max())) if flat.size else (0.0, 1.0)
    room = PAD * (high - low) or PAD * abs(high) or 1.0
    return low - room, high + room


class Plot:
    """One pair of axes: ``place`` left, top, width and height in pixels; ``x`` and ``y`` their ends in data units.

    ``drawn``: the elements so far. What is outside the ends is not drawn over the neighbours: pass ends that hold all.
    """

    def __init__(self, place: tuple[float, float, float, float], x: Limits, y: Limits) -> None:
        self.left, self.top, self.width, self.height = place
        self.x, self.y = x, y
        self.drawn: list[str] = []

    def at_x(self, values: np.ndarray | Sequence[float] | float) -> np.ndarray:
        """Pixels from the left edge of the picture."""
        return self.left + self.width * (np.asarray(values, float) - self.x[0]) / (self.x[1] - self.x[0])

    def at_y(self, values: np.ndarray | Sequence[float] | float) -> np.ndarray:
        """Pixels from the top edge of the picture."""
        return self.top + self.height * (self.y[1] - np.asarray(values, float)) / (self.y[1] - self.y[0])

    def dots(self, x: np.ndarray, y: np.ndarray, colour: str, names: Sequence[str] = (), radius: float = 2.2) -> None:
        """A dot each; ``names``: what is read when one rests on it."""
        labels = [f"<title>{escape(name)}</title>" for name in names] or [""] * len(x)
        places = zip(self.at_x(x).tolist(), self.at_y(y).tolist(), labels, strict=True)
        circles = "".join(f'<circle cx="{u:.1f}" cy="{v:.1f}" r="{radius}">{name}</circle>' for u, v, name in places)
        self.drawn.append(f'<g fill="{colour}" fill-opacity=".75">{circles}</g>')

    def lines(
        self, lines: Sequence[Sequence[tuple[float, float]]], colour: str, width: float = 1, style: str = ""
    ) -> None:
        """Lines through (x, y) in data units, all in one colour; ``style``: further attributes."""
        path = "".join(
            "M" + "L".join(f"{float(self.at_x(x)):.1f} {float(self.at_y(y)):.1f}" for x, y in line) for line in lines
        )
        self.drawn.append(f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="{width}" {style}/>')

    def across(self, y: float, colour: str = INK, width: float = 0.8, style: str = "") -> None:
        """A horizontal line over the whole width."""
        self.lines([[(self.x[0], y), (self.x[1], y)]], colour, width, style)

    def band(self, low: float, high: float, colour: str) -> None:
        """A horizontal band over the whole width."""
        top, bottom = float(self.at_y(high)), float(self.at_y(low))
        place = f'x="{self.left:.1f}" y="{top:.1f}" width="{self.width:.1f}" height="{bottom - top:.1f}"'
        self.drawn.append(f'<rect {place} fill="{colour}" fill-opacity=".12"/>')

    def text(self, x: float, y: float, words: str, style: str = "", colour: str = INK) -> None:
        """Words at a place in pixels from the top left corner of the axes."""
        self.drawn.append(
            f'<text x="{self.left + x:.1f}" y="{self.top + y:.1f}" fill="{colour}" {style}>{escape(words)}</text>'
        )

    def axes(
        self,
        below: Sequence[tuple[float, str]],
        beside: Sequence[tuple[float, str]],
        title_x: str = "",
        title_y: str = "",
    ) -> None:
        """The two axes with their ticks (place in data units, text) and titles; ``title_y`` may have two lines."""
        right, bottom = self.left + self.width, self.top + self.height
        edge = f"M{self.left:.1f} {self.top:.1f}V{bottom:.1f}H{right:.1f}"
        for value, word in below:
            x = float(self.at_x(value))
            edge += f"M{x:.1f} {bottom:.1f}v4"
            self.text(x - self.left, self.height + 16, word, 'text-anchor="middle"')
        for value, word in beside:
            y = float(self.at_y(value))
            edge += f"M{self.left:.1f} {y:.1f}h-4"
            self.text(-7, y - self.top + 4, word, 'text-anchor="end"')
        self.drawn.append(f'<path d="{edge}" fill="none" stroke="{INK}" stroke-width=".8"/>')
        if title_x:
            self.text(self.width / 2, self.height + 31, title_x, 'text-anchor="middle"')
        for number, line in enumerate(reversed(title_y.split("\n")) if title_y else ()):
            x, y = self.left - 46 - 13 * number, self.top + self.height / 2
            turned = f'transform="rotate(-90 {x:.1f} {y:.1f})" text-anchor="middle"'
            self.text(x - self.left, y - self.top, line, turned)


def whole(width: float, height: float, plots: Sequence[Plot], title: str) -> str:
    """The picture of some plots, as a file of its own and as a part of a page."""
    inner = "".join(element for plot in plots for element in plot.drawn)
    size = f'viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="{FONT}" role="img" '
        f'aria-label="{escape(title)}"><rect width="100%" height="100%" fill="#fff"/>{inner}</svg>'
    )
