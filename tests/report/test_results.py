import math

import pytest

from udml.evaluation.intervals import Estimate
from udml.report.results import Measure, change_sentence, headline_html, measures_table, show

NARROW_SPACE = "\N{NARROW NO-BREAK SPACE}"


def measure(frozen, trained, **more):
    return Measure("Recall@1", "The nearest is right.", frozen, trained, **more)


def test_a_table_shows_both_models_their_intervals_and_the_change():
    row = measure(
        Estimate(0.891, 0.878, 0.903), Estimate(0.941, 0.931, 0.95), change=Estimate(0.05, 0.04, 0.06)
    )
    html = measures_table([row], "leave-one-out <1>", "Results")
    assert f"89.1{NARROW_SPACE}%" in html
    assert f"87.8 to 90.3{NARROW_SPACE}%" in html
    assert f"93.1 to 95.0{NARROW_SPACE}%" in html
    assert "+5.0 better<" in html
    assert "+4.0 to +6.0" in html
    assert 'title="leave-one-out &lt;1&gt;"' in html


@pytest.mark.parametrize(
    ("low", "high", "higher_is_better", "word"),
    [
        (-0.2, -0.1, True, "worse"),
        (-0.2, -0.1, False, "better"),
        (0.1, 0.2, True, "better"),
        (0.1, 0.2, False, "worse"),
        (-0.1, 0.1, True, "may be chance"),
    ],
)
def test_the_change_is_judged_by_its_interval_and_by_which_way_is_good(low, high, higher_is_better, word):
    change = Estimate((low + high) / 2, low, high)
    values = Estimate(0.5, 0.4, 0.6), Estimate(0.5 + change.value, 0.3, 0.5)
    row = measure(*values, change=change, higher_is_better=higher_is_better)
    shown = f"{100 * change.value:+.1f}".replace("-", "\N{MINUS SIGN}")
    assert f"{shown} {word}<" in measures_table([row], "p", "Results")
    said = {"better": "That is a gain", "worse": "That is a loss", "may be chance": "That may be chance"}[
        word
    ]
    assert change_sentence(row).startswith(said)


def test_missing_values_and_intervals_leave_a_dash_and_no_nan():
    rows = [
        measure(Estimate(0.3, math.nan, math.nan), Estimate(0.4, math.nan, math.nan)),
        measure(Estimate(1, 1, 1), Estimate(math.nan, math.nan, math.nan)),
    ]
    html = measures_table(rows, "p", "Results")
    assert "nan" not in html.lower()
    assert "\N{EN DASH}" in html
    assert change_sentence(rows[0]) == ""


def test_plain_numbers_are_not_shown_as_per_cent():
    row = measure(Estimate(150.0, math.nan, math.nan), Estimate(183.2, math.nan, math.nan), share=False)
    html = measures_table([row], "p", "Results")
    assert ">183<" in html
    assert "%" not in html


def test_the_headline_says_what_was_won():
    best = measure(Estimate(0.891, 0, 1), Estimate(0.941, 0, 1))
    assert headline_html(2640, best, True, "the frozen backbone") == (
        "Trained on 2,640 unlabelled images, the embedding finds the right class first for "
        f"<b>94.1{NARROW_SPACE}%</b> of the queries; the frozen backbone for 89.1{NARROW_SPACE}%."
    )
    assert "class" not in headline_html(5, best, False, "the frozen backbone")


def test_show_rounds_to_a_tenth_of_a_per_cent():
    assert show(0.12345, share=True) == f"12.3{NARROW_SPACE}%"
