"""What differs between two versions: figures, settings, and whom they take for neighbours."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from udml.config.yaml_file import read_mapping
from udml.files import read_json
from udml.registry.bundle import INDEX_DIRECTORY, METRICS_FILE, MODEL_FILE, PARAMS_FILE

NEIGHBOURS = 10
SAMPLE = 500


def differing_values(before: dict[str, Any], after: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Leaves of two nested mappings that differ, by dotted key; None where one of them has none."""
    old, new = dict(leaves(before)), dict(leaves(after))
    keys = [*old, *(key for key in new if key not in old)]
    return {key: (old.get(key), new.get(key)) for key in keys if old.get(key) != new.get(key)}


def leaves(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """What is in nested mappings, by dotted key."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def differing_metrics(before: Path, after: Path) -> dict[str, tuple[Any, Any]]:
    """Figures that differ between two version directories, protocol strings left out."""
    found = differing_values(read_json(before / METRICS_FILE), read_json(after / METRICS_FILE))
    return {key: values for key, values in found.items() if not key.endswith("protocol")}


def differing_params(before: Path, after: Path) -> dict[str, tuple[Any, Any]]:
    """Settings that differ between two version directories."""
    old, new = (read_mapping(directory / PARAMS_FILE) for directory in (before, after))
    return differing_values(old, new)


def shared_neighbours(before: Path, after: Path) -> float:
    """Share of an image's ten nearest that two versions agree on: 1.0 nothing changed for a searcher.

    Mean over at most 500 images that both indexes hold, taken at even distances. NaN if there is none.
    """
    from udml.search.embedder import Embedder
    from udml.search.gallery import open_index, search, vectors_of

    indexes = [
        open_index(directory / INDEX_DIRECTORY, Embedder(directory / MODEL_FILE).card)
        for directory in (before, after)
    ]
    common = np.intersect1d(indexes[0].ids, indexes[1].ids)
    asked = common[:: max(1, len(common) // SAMPLE)][:SAMPLE]
    if len(asked) == 0:
        return float("nan")
    old, new = (search(index, vectors_of(index, asked), NEIGHBOURS + 1)[1] for index in indexes)
    return float(np.mean([_agreement(*rows) for rows in zip(asked, old, new, strict=True)]))


def _agreement(own: int, old: np.ndarray, new: np.ndarray) -> float:
    first, second = (set(row.tolist()) - {int(own)} for row in (old, new))
    return len(first & second) / max(1, min(len(first), len(second)))
