"""The report's sections of numbers, from an Evaluation: with labels, and without."""

from html import escape

from udml.evaluation.intervals import Estimate
from udml.evaluation.results import (
    LEAVE_ONE_OUT,
    LEAVE_ONE_OUT_DUPLICATES,
    LEAVE_ONE_OUT_REFINED,
    QUERY_GALLERY,
    QUERY_GALLERY_DUPLICATES,
    QUERY_GALLERY_REFINED,
    Evaluation,
)
from udml.report.ladder import ladder_table
from udml.report.page import Section, counted, details
from udml.report.results import Measure, measures_table

_PROTOCOL_TITLES = {
    LEAVE_ONE_OUT: "Each test image asks all the others",
    QUERY_GALLERY: "Query images ask gallery images",
    LEAVE_ONE_OUT_DUPLICATES: "Each test image asks all the others, copies counted",
    QUERY_GALLERY_DUPLICATES: "Query images ask gallery images, copies counted",
    LEAVE_ONE_OUT_REFINED: "Each test image asks all the others, both models searched by neighbourhoods",
    QUERY_GALLERY_REFINED: "Query images ask gallery images, both models searched by neighbourhoods",
}
# How others report it, and the search that ships for both models: not what this page's first words stand on.
_FOLDED = (
    LEAVE_ONE_OUT_DUPLICATES,
    QUERY_GALLERY_DUPLICATES,
    LEAVE_ONE_OUT_REFINED,
    QUERY_GALLERY_REFINED,
)

_MEANINGS = {
    "map_at_r": ("MAP@R", "How well the whole class is gathered in front. Higher is better."),
    "r_precision": (
        "R-precision",
        "Of the R others in the class, the share among the R nearest. Higher is better.",
    ),
    "nmi": ("NMI", "How far k-means clusters agree with the classes. Higher is better."),
    "ami": ("AMI", "The same, with what chance would give taken off. Higher is better."),
}

# name: title, meaning, whether a share, whether higher is better
_LABEL_FREE = {
    "neighbours_found_again": (
        "Neighbours found again",
        "Of an image's ten nearest, the share that has it among their own ten and that a strongly changed "
        "view of it finds, too. It followed the truth best where that was known. Higher is better.",
        True,
        True,
    ),
    "found_again_at_1": (
        "Found again",
        "Share of images found first from a strongly changed view of themselves. Higher is better.",
        True,
        True,
    ),
    "found_again_mrr": (
        "Found again, reciprocal rank",
        "1 if found first, a half if second, a third if third; the mean. Higher is better.",
        True,
        True,
    ),
    "effective_rank": (
        "Effective rank",
        "How many directions the embedding uses. Higher is better; a steep fall means collapse.",
        False,
        True,
    ),
    "embedding_std": (
        "Spread",
        "How much embeddings differ, per dimension. Near 0 all images look the same; higher is better.",
        False,
        True,
    ),
    "mean_cosine": (
        "Likeness of two random images",
        "Mean cosine similarity. At 1 all images look the same to it; lower is better.",
        False,
        False,
    ),
    "hubness": (
        "Hubness",
        "Whether a few images turn up as everybody's neighbour: 0 is fair, above 5 is poor. Lower is better.",
        False,
        False,
    ),
}


def main_measure(evaluation: Evaluation) -> Measure:
    """The number of the headline: Recall@1 of the main protocol; else `neighbours_found_again`."""
    if evaluation.labelled:
        protocol = next(iter(evaluation.trained.scores))
        return next(one for one in _scored(evaluation, protocol) if one.title == "Recall@1")
    return next(iter(_label_free(evaluation)))


def main_protocol(evaluation: Evaluation) -> str:
    """How the number of the headline came about, in one line."""
    scores = evaluation.trained.scores
    return next(iter(scores.values())).protocol if scores else evaluation.trained.label_free_protocol


def scores_section(evaluation: Evaluation) -> Section:
    """One table per protocol that needs labels, then the clustering measures."""
    parts = [ladder_table(evaluation)] if LEAVE_ONE_OUT in evaluation.trained.scores else []
    for name, scores in evaluation.trained.scores.items():
        title = _PROTOCOL_TITLES.get(name, name.replace("_", " "))
        table = measures_table(_scored(evaluation, name), scores.protocol, title, evaluation.baseline_name)
        table += _protocol(scores.protocol)
        if scores.without_match:
            left_out = counted(scores.without_match, "query", "queries")
            table += f'<p class="note">Left out, with nothing of their class to find: {left_out}.</p>'
        if name in _FOLDED:
            parts.append(details(title, table))
        else:
            parts.append(f"<h3>{escape(title)}</h3>{table}")
    if evaluation.trained.clustering:
        protocol = evaluation.trained.clustering_protocol
        table = measures_table(
            _clustered(evaluation), protocol, "Clusters against classes", evaluation.baseline_name
        )
        parts.append(f"<h3>Clusters against classes</h3>{table}{_protocol(protocol)}")
    intro = (
        "What has to be beaten is the pretrained backbone with its features whitened. Small numbers are 95 % "
        "intervals; labels were used here only, never in training."
    )
    return Section("results", "Results", "Frozen backbone and trained embedding", intro, "".join(parts))


def label_free_section(evaluation: Evaluation) -> Section:
    """What can be said without a single label."""
    protocol = evaluation.trained.label_free_protocol
    table = measures_table(
        _label_free(evaluation), protocol, "Measures without labels", evaluation.baseline_name
    )
    intro = "These need no labels, so they exist for any data. Small numbers are 95 % intervals."
    return Section(
        "label-free", "Without labels", "What can be said without labels", intro, table + _protocol(protocol)
    )


def _scored(evaluation: Evaluation, protocol: str) -> list[Measure]:
    baseline, trained = evaluation.baseline.scores[protocol], evaluation.trained.scores[protocol]
    changes = evaluation.differences.get(protocol, {})
    return [
        Measure(*_title(name), baseline.estimates[name], estimate, changes.get(name))
        for name, estimate in trained.estimates.items()
    ]


def _title(name: str) -> tuple[str, str]:
    if name in _MEANINGS:
        return _MEANINGS[name]
    k = name.removeprefix("recall_at_")
    if k == "1":
        return "Recall@1", "The nearest image is of the right class. Higher is better."
    return f"Recall@{k}", f"Among the {k} nearest is one of the right class. Higher is better."


def _clustered(evaluation: Evaluation) -> list[Measure]:
    nan = float("nan")
    baseline, trained = evaluation.baseline.clustering, evaluation.trained.clustering
    return [
        Measure(*_title(name), Estimate(baseline[name], nan, nan), Estimate(value, nan, nan))
        for name, value in trained.items()
    ]


def _label_free(evaluation: Evaluation) -> list[Measure]:
    baseline, trained = evaluation.baseline.label_free, evaluation.trained.label_free
    changes = evaluation.differences.get("label_free", {})
    measures = []
    for name, (title, meaning, share, higher) in _LABEL_FREE.items():
        if name in trained:
            change = changes.get(name)
            measures.append(Measure(title, meaning, baseline[name], trained[name], change, share, higher))
    return measures


def _protocol(protocol: str) -> str:
    return f'<p class="protocol">Protocol: {escape(protocol)}</p>'
