"""Places in pixels against arithmetic done by hand; what is written is XML."""

from xml.etree import ElementTree

import numpy as np
import pytest

from bids_lfenhance.reports.svg import Plot, limits_of, tick_texts, ticks, whole


def picture(plot: Plot) -> ElementTree.Element:
    return ElementTree.fromstring(
        whole(300, 200, [plot], 'what "it" <is>').replace(' xmlns="http://www.w3.org/2000/svg"', "")
    )


def test_a_dot_lies_where_its_values_say_and_tells_its_name() -> None:
    plot = Plot((50, 20, 200, 100), (0, 10), (-1, 1))
    plot.dots(np.array([0, 5, 10]), np.array([-1, 0, 1]), "#000", ["a<b", "b", "c"])
    drawn = picture(plot)
    places = [(float(dot.get("cx", 0)), float(dot.get("cy", 0))) for dot in drawn.iter("circle")]
    assert places == [(50, 120), (150, 70), (250, 20)]
    assert [title.text for title in drawn.iter("title")] == ["a<b", "b", "c"]
    assert drawn.get("aria-label") == 'what "it" <is>'


def test_bands_and_lines_span_the_axes() -> None:
    plot = Plot((50, 20, 200, 100), (0, 10), (-1, 1))
    plot.band(-0.5, 0.5, "#000")
    plot.across(0)
    band, line = picture(plot).findall("rect")[1], picture(plot).find("path")
    assert {key: float(band.get(key, 0)) for key in ("x", "y", "width", "height")} == {
        **{"x": 50, "y": 45},
        **{"width": 200, "height": 50},
    }
    assert line is not None
    assert line.get("d") == "M50.0 70.0L250.0 70.0"


@pytest.mark.parametrize("ends", [(0.61, 0.88), (-1.6, 0.35), (1e-4, 3e-4), (1200, 9000), (19.2, 22.7)])
def test_ticks_are_few_round_and_inside(ends: tuple[float, float]) -> None:
    values = ticks(*ends)
    assert 2 <= len(values) <= 4
    assert ends[0] <= values[0] < values[-1] <= ends[1]
    assert np.allclose(np.diff(values), values[1] - values[0])
    assert all(len(text.strip("−0.").replace(".", "")) <= 3 for text in tick_texts(values))


def test_limits_hold_everything_and_one_value_too() -> None:
    low, high = limits_of(np.array([1.0, np.nan]), [3.0])
    assert low < 1
    assert high > 3
    low, high = limits_of([7.0])
    assert low < 7 < high
    assert limits_of([np.nan])[0] < limits_of([np.nan])[1]
