"""The first table of the report: what each step is worth, from the backbone as it came to what is shipped."""

from html import escape

from udml.evaluation.intervals import Estimate
from udml.evaluation.results import LEAVE_ONE_OUT, LEAVE_ONE_OUT_REFINED, REFINEMENT, Evaluation
from udml.report.results import Measure, change_html, value_cell

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
    head = "".join(f'<th scope="col" class="number">{title}</th>' for title in _COLUMNS.values())
    rows = "".join(_row(evaluation, step) for step in _steps(evaluation))
    label = "What each step is worth"
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{label}"><table class="measures">'
        f'<thead><tr><th scope="col"></th>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    )


def _steps(evaluation: Evaluation) -> list[str]:
    steps = ["frozen", *(["whitened"] if evaluation.whitened else []), "trained"]
    return [*steps, "refined"] if LEAVE_ONE_OUT_REFINED in evaluation.trained.scores else steps


def _estimates(evaluation: Evaluation, step: str) -> dict[str, Estimate]:
    if step == "refined":
        return dict(evaluation.trained.scores[LEAVE_ONE_OUT_REFINED].estimates)
    models = {"frozen": evaluation.frozen, "whitened": evaluation.whitened, "trained": evaluation.trained}
    model = models[step]
    return {} if model is None else dict(model.scores[LEAVE_ONE_OUT].estimates)


def _row(evaluation: Evaluation, step: str) -> str:
    title, meaning = _STEPS[step]
    own = _estimates(evaluation, step)
    gains, before = {}, own
    if step == "trained":
        gains, before = (
            dict(evaluation.differences[LEAVE_ONE_OUT]),
            dict(evaluation.baseline.scores[LEAVE_ONE_OUT].estimates),
        )
    elif step == "refined":
        gains, before = dict(evaluation.differences[REFINEMENT]), _estimates(evaluation, "trained")
    style = "trained" if step in ("trained", "refined") else "frozen"
    cells = ""
    for name, column in _COLUMNS.items():
        gain = change_html(Measure(column, "", before[name], own[name], gains[name])) if gains else ""
        cells += value_cell(own[name], True, style, column, gain)
    return f'<tr><th scope="row">{escape(title)}<small>{escape(meaning)}</small></th>{cells}</tr>'
