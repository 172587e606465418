"""The first table of the report: what each step is worth, from the backbone as it came to what is shipped."""

from collections.abc import Mapping
from html import escape

from udml.evaluation.intervals import Estimate
from udml.evaluation.results import LEAVE_ONE_OUT, LEAVE_ONE_OUT_REFINED, REFINEMENT, Evaluation
from udml.report.results import Measure, change_html, value_cell

Estimates = Mapping[str, Estimate]
_COLUMNS = {"recall_at_1": "Recall@1", "map_at_r": "MAP@R", "r_precision": "R-precision"}
_STEPS = {
    "frozen": ("Frozen backbone", "As it came, pretrained on other pictures."),
    "whitened": ("Whitened", "The variances of its features evened out; takes seconds, nothing is trained."),
    "trained": ("Trained", "The embedding, searched by similarity alone."),
    "refined": ("By neighbourhoods", "The same, searched as it ships: see docs/search.md."),
}


def ladder_table(evaluation: Evaluation) -> str:
    """Rows from the frozen backbone to the shipped search, each with its intervals and its gain.

    The gain of the trained row is over the row above it, and so is that of the last one.
    """
    found = {name: one.scores[LEAVE_ONE_OUT].estimates for name, one in reversed(evaluation.models.items())}
    gains = {"trained": (found[evaluation.baseline_name], evaluation.differences[LEAVE_ONE_OUT])}
    if LEAVE_ONE_OUT_REFINED in evaluation.trained.scores:
        found["refined"] = evaluation.trained.scores[LEAVE_ONE_OUT_REFINED].estimates
        gains["refined"] = found["trained"], evaluation.differences[REFINEMENT]
    head = "".join(f'<th scope="col" class="number">{title}</th>' for title in _COLUMNS.values())
    rows = "".join(_row(step, own, gains.get(step)) for step, own in found.items())
    label = "What each step is worth"
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{label}"><table class="measures">'
        f'<thead><tr><th scope="col"></th>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    )


def _row(step: str, own: Estimates, gain: tuple[Estimates, Estimates] | None) -> str:
    """A step's figures; of `gain`, what they are compared with and the differences."""
    title, meaning = _STEPS[step]
    cells = ""
    for name, column in _COLUMNS.items():
        more = change_html(Measure(column, "", gain[0][name], own[name], gain[1][name])) if gain else ""
        cells += value_cell(own[name], True, "trained" if gain else "frozen", column, more)
    return f'<tr><th scope="row">{escape(title)}<small>{escape(meaning)}</small></th>{cells}</tr>'
