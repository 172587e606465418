"""Which test images ask which others, as far as labels and roles allow."""

from dataclasses import dataclass

import numpy as np

from udml.evaluation.results import (
    LEAVE_ONE_OUT,
    LEAVE_ONE_OUT_DUPLICATES,
    LEAVE_ONE_OUT_REFINED,
    QUERY_GALLERY,
    QUERY_GALLERY_DUPLICATES,
    QUERY_GALLERY_REFINED,
)


@dataclass(frozen=True)
class EvaluationSet:
    """What is known of the test images.

    Attributes:
        rows: int64 [n], catalogue rows, ascending.
        labels: int64 [n], class codes, -1 for no label.
        class_names: name of each code.
        groups: int64 [n]; images of one group are duplicates of each other.
        roles: str [n], "both", "query" or "gallery".
        data_version: of the data they are from.
    """

    rows: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    groups: np.ndarray
    roles: np.ndarray
    data_version: str


@dataclass(frozen=True)
class Protocol:
    """Who asks whom: positions among the test images, and the words for it.

    Attributes:
        name: a key of `ModelEvaluation.scores`.
        words: what is done, in one line.
        queries, gallery: int64, positions among the test images.
        mask_groups: whether duplicates of a query count neither way.
        refined: whether the search is by neighbourhoods.
    """

    name: str
    words: str
    queries: np.ndarray
    gallery: np.ndarray
    mask_groups: bool
    refined: bool = False


def protocols_of(test: EvaluationSet, refined: bool) -> list[Protocol]:
    """Those that the labels and roles allow; images without a label neither ask nor are asked.

    Args:
        test: the test images.
        refined: with those that search by neighbourhoods.
    """
    labelled = test.labels >= 0
    everyone = np.flatnonzero(labelled)
    asking = np.flatnonzero(labelled & (test.roles != "gallery"))
    asked = np.flatnonzero(labelled & (test.roles != "query"))
    split = len(asking) and len(asked) and (len(asking) < len(everyone) or len(asked) < len(everyone))
    classes = len(np.unique(test.labels[everyone]))
    found = []
    for masked, by_neighbourhoods, (alone, across) in (
        (True, False, (LEAVE_ONE_OUT, QUERY_GALLERY)),
        (False, False, (LEAVE_ONE_OUT_DUPLICATES, QUERY_GALLERY_DUPLICATES)),
        (True, True, (LEAVE_ONE_OUT_REFINED, QUERY_GALLERY_REFINED)),
    ):
        copies = f"{classes:,} classes, duplicates {'ignored' if masked else 'counted'}, ties count as misses"
        words = f"leave-one-out over {len(everyone):,} test images, {copies}"
        found.append(Protocol(alone, words, everyone, everyone, masked, by_neighbourhoods))
        if split:
            words = f"{len(asking):,} query images in a gallery of {len(asked):,}, {copies}"
            found.append(Protocol(across, words, asking, asked, masked, by_neighbourhoods))
    return [one for one in found if refined or not one.refined] if len(everyone) else []
