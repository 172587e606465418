"""An `Evaluation` as metrics.json, its protocols in words, as plot data, and as a table to print."""

import csv
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from udml.evaluation.intervals import Estimate
from udml.evaluation.results import LEAVE_ONE_OUT, LEAVE_ONE_OUT_REFINED, Evaluation, ModelEvaluation
from udml.files import atomic_path, write_json

RECALL_PLOT = "recall_at_k.csv"
SCORES_PLOT = "scores.csv"
_RECALL = "recall_at_"
_TITLES = {
    "map_at_r": "MAP@R",
    "r_precision": "R-precision",
    "nmi": "NMI",
    "ami": "AMI",
    "neighbours_found_again": "Neighbours found again",
    "found_again_at_1": "Found again",
    "found_again_mrr": "Found again, MRR",
    "effective_rank": "Effective rank",
}
# of the printed table
_COLUMNS = {"frozen": "frozen backbone", "whitened": "frozen, whitened", "trained": "trained"}
_BY_NEIGHBOURHOODS = "trained, by neighbourhoods"


def write_metrics(path: Path, evaluation: Evaluation) -> None:
    """Write metrics.json for `dvc metrics show` and `diff`.

    Keys: `trained`, `whitened`, `frozen`: protocol -> metric; `difference` (trained - baseline, with the ends
    of its paired interval) of each protocol that has one, and `ratio` (trained / baseline) of the main
    protocol: leave_one_out, or label_free where there are no labels. The baseline is the frozen backbone,
    whitened. Numbers only: DVC sets them side by side.
    """
    main = main_protocol(evaluation)
    baseline, trained = _estimates(evaluation.baseline)[main], _estimates(evaluation.trained)[main]
    differences = {
        protocol: {
            f"{name}{end}": value
            for name, one in found.items()
            for end, value in (("", one.value), ("_low", one.low), ("_high", one.high))
        }
        for protocol, found in evaluation.differences.items()
    }
    ratio = {
        name: trained[name].value / baseline[name].value
        for name in evaluation.differences[main]
        if baseline[name].value > 0
    }
    models = {name: _numbers(model) for name, model in evaluation.models.items()}
    write_json(path, models | {"difference": differences, "ratio": ratio})


def write_protocols(path: Path, evaluation: Evaluation) -> None:
    """Write how the numbers of metrics.json were measured: model -> protocol -> one line."""
    words = {
        kind: {name: _words(model)[name] for name in _estimates(model)}
        for kind, model in evaluation.models.items()
    }
    write_json(path, words)


def main_protocol(evaluation: Evaluation) -> str:
    """The protocol that conclusions rest on: the first with labels, else "label_free"."""
    return next(iter(evaluation.trained.scores), "label_free")


def _estimates(model: ModelEvaluation) -> dict[str, dict[str, Estimate]]:
    """Every number of a model by protocol and name; those without an interval have NaN ends."""
    found = {name: dict(scores.estimates) for name, scores in model.scores.items()}
    if model.clustering:
        nan = math.nan
        found["clustering"] = {name: Estimate(value, nan, nan) for name, value in model.clustering.items()}
    found["label_free"] = dict(model.label_free)
    return found


def _words(model: ModelEvaluation) -> dict[str, str]:
    """The protocol string of each entry of `_estimates`."""
    words = {name: scores.protocol for name, scores in model.scores.items()}
    return words | {"clustering": model.clustering_protocol, "label_free": model.label_free_protocol}


def _numbers(model: ModelEvaluation) -> dict[str, dict[str, float]]:
    return {
        protocol: {name: one.value for name, one in found.items()}
        for protocol, found in _estimates(model).items()
    }


def write_plots(directory: Path, evaluation: Evaluation) -> None:
    """Write recall_at_k.csv (k and each model, of the main protocol) and scores.csv (every number).

    Without labels the first has its header only.
    """
    main = main_protocol(evaluation)
    found = {name: _estimates(model)[main] for name, model in reversed(evaluation.models.items())}
    recalls = [name for name in found["trained"] if name.startswith(_RECALL)]
    rows = [(name.removeprefix(_RECALL), *(one[name].value for one in found.values())) for name in recalls]
    _write_csv(directory / RECALL_PLOT, ("k", *found), rows)
    columns = ("model", "protocol", "metric", "value", "low", "high", "words")
    _write_csv(directory / SCORES_PLOT, columns, _long_rows(evaluation))


def _long_rows(evaluation: Evaluation) -> Iterator[tuple[object, ...]]:
    for kind, model in reversed(evaluation.models.items()):
        words = _words(model)
        for protocol, found in _estimates(model).items():
            for name, one in found.items():
                ends = [None if math.isnan(end) else end for end in (one.low, one.high)]
                yield kind, protocol, name, one.value, *ends, words[protocol]


def _write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with atomic_path(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)


def summary_table(evaluation: Evaluation) -> str:
    """The result as text: every model and way of searching, with 95 % intervals, and how."""
    main = main_protocol(evaluation)
    models = {_COLUMNS[name]: _estimates(one) for name, one in reversed(evaluation.models.items())}
    shown = [
        (protocol, name)
        for protocol in dict.fromkeys((main, "clustering", "label_free"))
        for name in models[_COLUMNS["trained"]].get(protocol, {})
        if name in _TITLES or name.startswith(_RECALL)
    ]
    refined = models[_COLUMNS["trained"]].get(LEAVE_ONE_OUT_REFINED, {}) if main == LEAVE_ONE_OUT else {}
    rows = [("", *models, *([_BY_NEIGHBOURHOODS] if refined else []))]
    for protocol, name in shown:
        title = _TITLES.get(name) or f"Recall@{name.removeprefix(_RECALL)}"
        cells = [_shown(name, found[protocol][name]) for found in models.values()]
        if refined:
            cells.append(_shown(name, refined[name]) if protocol == main else "")
        rows.append((title, *cells))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    lines.insert(1, "-" * max(len(line) for line in lines))
    words = [_words(evaluation.trained)[name] for name in dict.fromkeys((main, "label_free"))]
    note = "Per cent, with 95 % intervals; effective rank in dimensions. How it was measured:"
    return "\n".join([*(line.rstrip() for line in lines), "", note, *words])


def _shown(name: str, one: Estimate) -> str:
    """A share in per cent, with its interval where it has one; a count as it is."""
    if name == "effective_rank":
        return f"{one.value:5.1f}"
    interval = "" if math.isnan(one.low) else f"  ({100 * one.low:.1f} to {100 * one.high:.1f})"
    return f"{100 * one.value:5.1f}{interval}"
