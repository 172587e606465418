"""Models' embeddings of the same test images in, an `Evaluation` out. No files.

Shapes: n test images in catalogue order, v strong views of some of them, d embedding length.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import faiss
import numpy as np

from udml import config
from udml.errors import UdmlError
from udml.evaluation.agreement import clustering_scores
from udml.evaluation.intervals import Estimate, bootstrap, paired_bootstrap
from udml.evaluation.labelfree import (
    augmentation_ranks,
    effective_rank,
    hubness,
    neighbours_found_again,
    spread,
)
from udml.evaluation.metrics import Embedded, require_sound, score_queries
from udml.evaluation.neighbourhoods import Neighbourhoods, know_neighbourhoods, refine_with
from udml.evaluation.protocols import EvaluationSet, Protocol, protocols_of
from udml.evaluation.results import (
    LEAVE_ONE_OUT,
    LEAVE_ONE_OUT_DUPLICATES,
    LEAVE_ONE_OUT_REFINED,
    QUERY_GALLERY,
    QUERY_GALLERY_DUPLICATES,
    REFINEMENT,
    Evaluation,
    ModelEvaluation,
    Scores,
)
from udml.model_card import ModelCard

NEIGHBOURS = 10
MAX_VIEWS = 1000
_RANK_IMAGES = 10_000  # effective rank and spread of more hardly differ
_MIB = 2**20


@dataclass(frozen=True)
class ModelVectors:
    """One model's embeddings, unit rows.

    Attributes:
        card: of the model.
        images: float32 [n, d], of the test images.
        views: float32 [v, d], of the strong views.
    """

    card: ModelCard
    images: np.ndarray
    views: np.ndarray


def view_sources(groups: np.ndarray, seed: int) -> np.ndarray:
    """Which test images are shown as strong views: at most 1,000, drawn at random, ascending positions.

    Only the first image of each duplicate group is: of two equal pictures, neither is the right answer.
    """
    first = _first_of_groups(groups)
    drawn = np.random.default_rng(seed).permutation(first)[:MAX_VIEWS]
    return np.sort(drawn)


def compare_models(
    test: EvaluationSet,
    shown: np.ndarray,
    models: Sequence[ModelVectors],
    params: config.Evaluate,
    refined: bool = False,
) -> Evaluation:
    """Score models on the same images, with and without labels as there are.

    Args:
        test: the n images.
        shown: int64 [v], positions of the images that the views show, from `view_sources`.
        models: vectors of the embedding that ships, of the pretrained backbone, and of the same whitened
            if there is that.
        params: Ks, bootstrap samples, memory and seed.
        refined: score search by neighbourhoods too.

    Raises:
        UdmlError: if there are fewer than two test images, or a model's embeddings are not finite, not
            of unit length or collapsed.
    """
    if len(test.rows) < 2:
        raise UdmlError(
            f"{len(test.rows)} test images are too few to search among", "raise prepare.test_share"
        )
    protocols = protocols_of(test, refined)
    for model in models:
        require_sound(model.images, f"the embeddings of the {model.card.kind} model")
    known = know_neighbourhoods(models[0].images) if refined else None
    trained = _evaluate_model(test, shown, models[0], protocols, params, known)
    frozen, *more = (_evaluate_model(test, shown, model, protocols, params) for model in models[1:])
    differences = _differences(trained, more[0] if more else frozen, params)
    labels = test.rows, test.labels, test.class_names
    return Evaluation(*labels, trained, frozen, more[0] if more else None, differences)


def _evaluate_model(
    test: EvaluationSet,
    shown: np.ndarray,
    model: ModelVectors,
    protocols: list[Protocol],
    params: config.Evaluate,
    known: Neighbourhoods | None = None,
) -> ModelEvaluation:
    """Score one model; `known` are the neighbourhoods of all its images, where they are known already."""
    card = model.card
    origin = f"data {test.data_version}; model {card.model_version}; {card.input_px} px"
    origin += ", two looks" if card.looks == 2 else ""
    neighbours, similarities = nearest(model.images, NEIGHBOURS)
    distinct = _first_of_groups(test.groups)
    searched = model.views, model.images[distinct], np.searchsorted(distinct, shown)
    found_again = 1 / augmentation_ranks(*searched)
    neighbours_found = neighbours_found_again(*searched)
    labelled = np.flatnonzero(test.labels >= 0)
    scores = _all_scores(test, model.images, protocols, origin, params, known)
    return ModelEvaluation(
        card=model.card,
        embeddings=model.images,
        scores=scores,
        clustering=(
            clustering_scores(model.images[labelled], test.labels[labelled], params.seed) if scores else {}
        ),
        clustering_protocol=(
            f"k-means with as many clusters as classes over {len(labelled):,} test images; {origin}"
        ),
        label_free=_label_free(model.images, neighbours, _of_views(found_again, neighbours_found), params),
        label_free_protocol=(
            f"{len(shown):,} strong views searched among {len(distinct):,} test images, one of each "
            f"duplicate group, ties count as misses; the rest over {len(test.rows):,} test images; {origin}"
        ),
        found_again=found_again,
        neighbours_found=neighbours_found,
        neighbours=test.rows[neighbours],
        similarities=similarities,
        neighbourhoods=known,
    )


def _all_scores(
    test: EvaluationSet,
    embeddings: np.ndarray,
    protocols: list[Protocol],
    origin: str,
    params: config.Evaluate,
    known: Neighbourhoods | None,
) -> dict[str, Scores]:
    """Scores by protocol; a protocol under which no query has anything to find is left out."""
    without_copies = len(_first_of_groups(test.groups)) == len(test.groups)
    scores: dict[str, Scores] = {}
    for protocol in protocols:
        twin = {LEAVE_ONE_OUT_DUPLICATES: LEAVE_ONE_OUT, QUERY_GALLERY_DUPLICATES: QUERY_GALLERY}.get(
            protocol.name
        )
        if twin in scores and without_copies:  # the same numbers; a large test set takes minutes
            found = scores[twin]
        else:
            found = _scores(test, embeddings, protocol, params, known)
        if len(found.query):
            left_out = f", {found.without_match:,} without a match left out" if found.without_match else ""
            how = f"; {found.protocol}" if protocol.refined else ""
            scores[protocol.name] = replace(found, protocol=f"{protocol.words}{left_out}{how}; {origin}")
    return scores


def _scores(
    test: EvaluationSet,
    embeddings: np.ndarray,
    protocol: Protocol,
    params: config.Evaluate,
    known: Neighbourhoods | None,
) -> Scores:
    def part(positions: np.ndarray) -> Embedded:
        return Embedded(embeddings[positions], test.labels[positions], test.groups[positions])

    place = np.full(len(test.rows), -1, np.int64)
    place[protocol.gallery] = np.arange(len(protocol.gallery))
    if not protocol.refined:
        known = None
    elif known is None or len(protocol.gallery) < len(embeddings):
        known = know_neighbourhoods(embeddings[protocol.gallery])
    found = score_queries(
        part(protocol.queries),
        part(protocol.gallery),
        place[protocol.queries],
        params.recall_at,
        protocol.mask_groups,
        params.memory_budget_mib * _MIB,
        None if known is None else refine_with(known),
    )
    estimates = {
        name: bootstrap(values, params.bootstrap_samples, params.seed)
        for name, values in found.values.items()
        if len(values)
    }
    how = f"by neighbourhoods, {known.count} mixed: {known.because}" if known else ""
    return Scores(how, estimates, protocol.queries[found.query], found.values, found.without_match)


def _label_free(
    embeddings: np.ndarray, neighbours: np.ndarray, of_views: dict[str, np.ndarray], params: config.Evaluate
) -> dict[str, Estimate]:
    drawn = np.random.default_rng(params.seed).permutation(len(embeddings))[:_RANK_IMAGES]
    sample = embeddings[np.sort(drawn)]
    plain = {
        "effective_rank": effective_rank(sample),
        **spread(sample),
        "hubness": hubness(neighbours, len(embeddings)),
    }
    nan = float("nan")
    return {
        **{
            name: bootstrap(values, params.bootstrap_samples, params.seed)
            for name, values in of_views.items()
        },
        **{name: Estimate(value, nan, nan) for name, value in plain.items()},
    }


def _of_views(found_again: np.ndarray, neighbours_found: np.ndarray) -> dict[str, np.ndarray]:
    """The figures with one value a view, float64 [v]: two models are compared by them in pairs."""
    return {
        "neighbours_found_again": neighbours_found,
        "found_again_at_1": (found_again == 1).astype(np.float64),
        "found_again_mrr": found_again,
    }


def _differences(
    trained: ModelEvaluation, baseline: ModelEvaluation, params: config.Evaluate
) -> dict[str, dict[str, Estimate]]:
    def paired(first: np.ndarray, second: np.ndarray) -> Estimate:
        return paired_bootstrap(first, second, params.bootstrap_samples, params.seed)

    differences = {
        protocol: {
            name: paired(baseline.scores[protocol].per_query[name], values)
            for name, values in scores.per_query.items()
        }
        for protocol, scores in trained.scores.items()
    }
    if LEAVE_ONE_OUT_REFINED in trained.scores:
        plain, refined = (trained.scores[name] for name in (LEAVE_ONE_OUT, LEAVE_ONE_OUT_REFINED))
        differences[REFINEMENT] = {
            name: paired(plain.per_query[name], values) for name, values in refined.per_query.items()
        }
    before, after = (_of_views(m.found_again, m.neighbours_found) for m in (baseline, trained))
    differences["label_free"] = {name: paired(before[name], values) for name, values in after.items()}
    return differences


def _first_of_groups(groups: np.ndarray) -> np.ndarray:
    """Positions of the first image of each group, ascending."""
    return np.sort(np.unique(groups, return_index=True)[1])


def nearest(embeddings: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Each image's nearest others, exactly.

    Args:
        embeddings: float32 [n, d], unit rows.
        k: at most this many each.

    Returns:
        int64 positions and float32 cosines, both [n, min(k, n - 1)], nearest first.
    """
    n = len(embeddings)
    k = min(k, n - 1)
    vectors = np.ascontiguousarray(embeddings)
    similarity, found = faiss.knn(vectors, vectors, k + 1, metric=faiss.METRIC_INNER_PRODUCT)
    others = found != np.arange(n)[:, None]
    others[others.all(axis=1), -1] = False  # more than k copies came before the image itself
    return found[others].reshape(n, k), np.clip(similarity[others], -1, 1).reshape(n, k)
