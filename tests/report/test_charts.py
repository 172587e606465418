import math
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from udml.evaluation.intervals import Estimate
from udml.report.charts import Series, histogram, line_chart, number, range_plot, ticks

finite = st.floats(-1e9, 1e9, allow_nan=False)


def svg_of(markup):
    return ElementTree.fromstring(markup[: markup.index("</svg>") + 6])


@given(finite, finite)
def test_ticks_cover_the_range_evenly_with_round_steps(a, b):
    low, high = min(a, b), max(a, b)
    found = ticks(low, high)
    step = found[1] - found[0]
    assert found[0] <= low + 1e-6 * step
    assert found[-1] >= high - 1e-6 * step
    assert 2 <= len(found) <= 12
    mantissa = step / 10 ** math.floor(math.log10(step) + 1e-6)
    if high - low > 1e-6 * max(abs(low), abs(high)):
        assert any(mantissa == pytest.approx(nice, rel=1e-2) for nice in (1, 2, 5, 10))


def test_line_chart_draws_what_is_finite_and_skips_the_rest():
    series = Series("loss", [0, 30, 60, 90], [None, 1.0, math.nan, 0.5])
    root = svg_of(line_chart("Loss", [series], picked_x=60))
    dots = [node for node in root if node.tag == "circle"]
    assert len(dots) == 2
    assert "0.5" in dots[1][0].text
    assert root.get("aria-label") == "Loss"
    assert [node.text for node in root if node.get("class") == "picked-name"] == ["picked"]
    # The axis starts at the first step, even where nothing was recorded there.
    assert "0" in [node.text for node in root if node.get("class") == "tick"]


def test_higher_values_are_drawn_higher_and_later_ones_further_right():
    root = svg_of(line_chart("x", [Series("x", [0, 10], [1.0, 2.0])]))
    first, second = [(float(n.get("cx")), float(n.get("cy"))) for n in root if n.tag == "circle"]
    assert second[0] > first[0]
    assert second[1] < first[1]


def test_charts_with_nothing_to_draw_say_so():
    assert "Nothing was recorded" in line_chart("x", [Series("x", [0, 1], [None, None])])
    assert "Nothing was recorded" in histogram("x", [0, 1], [0])
    assert "Nothing was recorded" in histogram("x", [], [])


def test_a_single_point_and_a_level_line_can_be_drawn():
    for values in ([0.5], [0.5, 0.5, 0.5], [0.0]):
        markup = line_chart("x", [Series("x", list(range(len(values))), values)])
        numbers = re.findall(r'c[xy]="([^"]+)"', markup)
        assert len(numbers) == 2 * len(values)
        assert all(math.isfinite(float(found)) for found in numbers)


def test_histogram_bars_are_as_high_as_their_counts_and_named_by_their_bins():
    root = svg_of(histogram("sizes", [0, 1, 2, 5, 10**9], [4, 0, 8, 2]))
    bars = [node for node in root if node.tag == "rect"]
    heights = [float(bar.get("height")) for bar in bars]
    assert heights[2] == pytest.approx(2 * heights[0], abs=0.2)
    assert heights[1] == 0
    assert [node.text for node in root if node.get("text-anchor") == "middle"] == ["0", "1", "2+", "5+"]
    assert bars[2][0].text == "8 of 2 to 4"


def test_range_plot_keeps_to_its_frame_and_leaves_out_what_is_missing():
    markup = range_plot("r", Estimate(math.nan, 0, 1), Estimate(0.5, math.nan, math.nan), 0.0, 1.0)
    assert "frozen" not in markup
    assert "whisker" not in markup
    root = svg_of(range_plot("r", Estimate(0.2, 0.1, 0.3), Estimate(7.0, 6.0, 8.0), 0.0, 1.0))
    assert all(0 <= float(node.get("cx")) <= 200 for node in root if node.tag == "circle")


def test_labels_are_escaped():
    hostile = 'a<b>&"c'
    assert svg_of(line_chart(hostile, [Series(hostile, [0, 1], [1, 2])])).get("aria-label") == hostile


@pytest.mark.parametrize(
    ("value", "shown"),
    [(12000.0, "12,000"), (340, "340"), (3.21, "3.21"), (0.04712, "0.0471"), (math.nan, "\N{EN DASH}")],
)
def test_numbers_are_short(value, shown):
    assert number(value) == shown
