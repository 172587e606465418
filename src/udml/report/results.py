"""The report's numbers: the baseline beside the trained embedding, each with its interval and protocol.

The baseline is the frozen backbone, whitened; where there is no such model, as it came.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from udml.evaluation.intervals import Estimate
from udml.report.charts import MISSING, number, range_plot

PER_CENT = "\N{NARROW NO-BREAK SPACE}%"


@dataclass(frozen=True)
class Measure:
    """One row of a result table.

    Attributes:
        title: what it is called.
        meaning: one sentence: what it means and which way is good.
        baseline, trained: the values, each with its interval where there is one.
        change: trained minus baseline with its paired interval, or None where there is no interval.
        share: whether it is a share of 0..1, shown in per cent.
        higher_is_better: which way is good.
    """

    title: str
    meaning: str
    baseline: Estimate
    trained: Estimate
    change: Estimate | None = None
    share: bool = True
    higher_is_better: bool = True


def show(value: float, share: bool) -> str:
    """A value as people read it: 94.1 %, or 183."""
    if not math.isfinite(value):
        return MISSING
    return f"{100 * value:.1f}{PER_CENT}" if share else number(value)


def measures_table(measures: Sequence[Measure], protocol: str, caption: str, baseline: str = "frozen") -> str:
    """Baseline and trained side by side, with intervals, their difference and a small picture of both."""
    shares = [one for one in measures if one.share]
    picture = '<th scope="col" class="range-cell">from 0 to 100&nbsp;%</th>' if shares else ""
    head = (
        f'<th scope="col">measure</th><th scope="col" class="number">{escape(baseline)}</th>'
        f'<th scope="col" class="number">trained</th><th scope="col" class="number">change</th>{picture}'
    )
    rows = "".join(_row(one, protocol, bool(shares), baseline) for one in measures)
    opening = f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}">'
    return (
        f"{opening}<table class='measures'><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _row(one: Measure, protocol: str, pictured: bool, baseline: str) -> str:
    heading = f'<th scope="row">{escape(one.title)}<small>{escape(one.meaning)}</small></th>'
    plot = ""
    if pictured:
        label = f"{one.title}: trained {show(one.trained.value, one.share)}"
        plot = range_plot(label, one.baseline, one.trained, 0.0, 1.0) if one.share else ""
        plot = f'<td class="range-cell">{plot}</td>'
    title = f' title="{escape(protocol)}"'
    return (
        f"<tr{title}>{heading}{value_cell(one.baseline, one.share, 'frozen', baseline)}"
        f"{value_cell(one.trained, one.share, 'trained', 'trained')}"
        f'<td class="number" data-name="change">{change_html(one)}</td>{plot}</tr>'
    )


def value_cell(estimate: Estimate, share: bool, style: str, name: str, more: str = "") -> str:
    """One number with its interval; `name` stands over it on a phone, `more` below."""
    interval = ""
    if math.isfinite(estimate.low) and math.isfinite(estimate.high):
        low, high = show(estimate.low, share).removesuffix(PER_CENT), show(estimate.high, share)
        interval = f'<span class="interval">{low} to {high}</span>'
    shown = f'<span class="value {style}">{show(estimate.value, share)}</span>'
    return f'<td class="number" data-name="{escape(name)}">{shown}{interval}{more}</td>'


def change_html(one: Measure) -> str:
    """The difference with its paired interval; `better` or `worse` only where that leaves no doubt."""
    difference = one.trained.value - one.baseline.value
    if not math.isfinite(difference):
        return MISSING
    style, word, interval = "", "", ""
    if one.change is not None and math.isfinite(one.change.low) and math.isfinite(one.change.high):
        ends = f"{signed(one.change.low, one.share)} to {signed(one.change.high, one.share)}"
        style, word = _verdict(one.change, one.higher_is_better)
        interval = f'<span class="interval">{ends}</span>'
    return f'<span class="delta {style}">{signed(difference, one.share)} {word}</span>{interval}'


def _verdict(change: Estimate, higher_is_better: bool) -> tuple[str, str]:
    """CSS class and word for a difference."""
    if change.low == 0 == change.high:
        return "", ""
    if change.low <= 0 <= change.high:
        return "", "may be chance"
    better = (change.low > 0) == higher_is_better
    return ("better", "better") if better else ("worse", "worse")


def signed(difference: float, share: bool) -> str:
    """A difference with its sign; of shares in percentage points."""
    shown = f"{100 * difference:+.1f}" if share else f"{difference:+.3g}"
    return shown.replace("-", "\N{MINUS SIGN}")


def change_sentence(one: Measure) -> str:
    """Whether the difference of a share is more than chance, in one sentence."""
    if one.change is None or not (math.isfinite(one.change.low) and math.isfinite(one.change.high)):
        return ""
    ends = f"{signed(one.change.low, True)} to {signed(one.change.high, True)}"
    points = f"{signed(one.change.value, True)} points, 95 % interval {ends}, on the same queries"
    style, _ = _verdict(one.change, one.higher_is_better)
    said = {"better": "That is a gain", "worse": "That is a loss", "": "That may be chance"}[style]
    return f"{said}: {points}."


def headline_html(train_images: int, best: Measure, labelled: bool, baseline: str) -> str:
    """The report in one sentence, with one number on each side.

    Args:
        train_images: how many images were trained on.
        best: Recall@1 where there are labels, else how many neighbours are found from a changed view.
        labelled: which of the two `best` is.
        baseline: what it is compared with, in words.
    """
    trained, other = f"<b>{show(best.trained.value, best.share)}</b>", show(best.baseline.value, best.share)
    if labelled:
        found = f"finds the right class first for {trained} of the queries; {baseline} for {other}"
    else:
        found = (
            f"finds {trained} of an image's nearest again, both ways and from a strongly changed view; "
            f"{baseline} {other}"
        )
    return f"Trained on {train_images:,} unlabelled images, the embedding {found}."
