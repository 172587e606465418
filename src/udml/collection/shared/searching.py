"""Search in one collection of Milvus: plain, by neighbourhoods, and the mixtures of what is added.

All reads are of strong consistency: what any writer was told is written, they see.
Shapes: n queries, k neighbours, d embedding length.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from udml.collection.shared.connection import MOST_FOUND, Connection
from udml.collection.shared.rows import vector_of
from udml.errors import UdmlError
from udml.search.gallery import IndexInfo, within_cosines
from udml.search.neighbourhood import (
    DEPTH,
    NEIGHBOURS,
    mix_one,
    nearest_distinct,
    refined_order,
    refined_score,
)

_LEAST_EF = 128  # breadth of a search in an HNSW graph, where the version's own index tells none
NOBODY = -1  # instead of an id, where a graph has shown fewer than asked for
Vectors = Mapping[int, np.ndarray]
Search = Callable[["Place", np.ndarray, int], tuple[np.ndarray, np.ndarray]]  # as `search_plain`


@dataclass(frozen=True)
class Place:
    """What is searched.

    Attributes:
        connection: to Milvus.
        name: of the collection.
        info: of the version's index.
    """

    connection: Connection
    name: str
    info: IndexInfo

    def vectors(self, image_ids: Sequence[int]) -> tuple[Vectors, Vectors]:
        """Vectors and mixtures of images, by id; the same twice where the index has no mixtures."""
        fields = ["vector", "mixed"] if self.info.mixed_neighbours else ["vector"]
        rows = self.connection.rows(self.name, image_ids, ["image_id", *fields])
        plain, mixed = (
            {row["image_id"]: vector_of(row, field) for row in rows} for field in (fields[0], fields[-1])
        )
        return plain, mixed

    def plain_vectors(self, image_ids: Sequence[int]) -> Vectors:
        """Vectors of images, by id."""
        rows = self.connection.rows(self.name, image_ids, ["image_id", "vector"])
        return {row["image_id"]: vector_of(row, "vector") for row in rows}


def check_queries(place: Place, queries: np.ndarray) -> None:
    """Raise a UdmlError where queries are not float [n, d] of finite numbers, as the collection's vectors."""
    if queries.ndim != 2 or queries.shape[1] != place.info.dim or not np.isfinite(queries).all():
        raise UdmlError(
            f"queries {queries.shape} do not fit a collection of vectors of {place.info.dim} finite numbers",
            "embed them with the model that made it",
        )


def search_plain(
    place: Place, queries: np.ndarray, k: int, only: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest images of each query, best first; see `contract`.

    Args:
        place: what is searched.
        queries: float32 [n, d], unit rows.
        k: at least 1.
        only: int64 [m], some thousand images to search in, none other; a graph is searched more widely then.
    """
    check_queries(place, queries)
    k = min(k, MOST_FOUND)
    breadth = max(k, place.info.search_parameters.get("efSearch", _LEAST_EF))
    if only is not None:
        breadth = max(k, min(MOST_FOUND, breadth * place.info.count // len(only)))
    params = {} if place.info.kind == "flat" else {"ef": breadth}
    found = place.connection.ask(
        "search",
        place.name,
        data=list(np.ascontiguousarray(queries, np.float32)),
        filter="" if only is None else f"image_id in {only.tolist()}",
        anns_field="vector",
        limit=k,
        search_params={"metric_type": "IP", "params": params},
        output_fields=["image_id"],
        consistency_level="Strong",
    )
    widest = max((len(hits) for hits in found), default=0)
    similarity = np.full((len(queries), widest), -1, np.float32)
    ids = np.full((len(queries), widest), NOBODY, np.int64)
    for row, hits in enumerate(found):
        similarity[row, : len(hits)] = [hit["distance"] for hit in hits]
        ids[row, : len(hits)] = [hit["image_id"] for hit in hits]
    return within_cosines(similarity), ids


def search_by_neighbourhoods(
    place: Place, queries: np.ndarray, k: int, lowest: float, search: Search = search_plain
) -> tuple[np.ndarray, np.ndarray]:
    """The k best images of each query in the order of their neighbourhoods; see `contract`."""
    if not place.info.mixed_neighbours:
        return search(place, queries, k)
    similarity, ids = search(place, queries, max(k, DEPTH))
    plain, mixed = place.vectors(np.unique(ids[:, :DEPTH]).tolist())
    for row, query in enumerate(queries):
        near, near_ids = similarity[row, :DEPTH], ids[row, :DEPTH]
        nearest = _stacked(plain, near_ids[:NEIGHBOURS], place.info.dim)
        kept = nearest_distinct(near[:NEIGHBOURS], nearest, place.info.mixed_neighbours)
        score = refined_score(query, near, _stacked(mixed, near_ids, place.info.dim), kept)
        order = refined_order(near, score, lowest)
        similarity[row, :DEPTH], ids[row, :DEPTH] = near[order], near_ids[order]
    return similarity[:, :k], ids[:, :k]


@dataclass(frozen=True)
class Neighbours:
    """What there is around images that are being added.

    Attributes:
        similarity: float32 [n, k], to what is in the collection, best first.
        ids: int64 [n, k].
        mixed: float32 [n, d], the images' vectors mixed with the mixtures there.
    """

    similarity: np.ndarray
    ids: np.ndarray
    mixed: np.ndarray


def around(place: Place, vectors: np.ndarray) -> Neighbours:
    """What there is around vectors, float32 [n, d], of images that are not in the collection yet."""
    similarity, ids = search_plain(place, vectors, NEIGHBOURS)
    if not place.info.mixed_neighbours or not ids.shape[1]:
        return Neighbours(similarity, ids, vectors)
    plain, mixtures = place.vectors(np.unique(ids).tolist())
    mixed = np.empty_like(vectors)
    for row, vector in enumerate(vectors):
        nearest = _stacked(plain, ids[row], place.info.dim)
        kept = nearest_distinct(similarity[row], nearest, place.info.mixed_neighbours)
        mixed[row] = mix_one(
            vector, similarity[row, kept], _stacked(mixtures, ids[row, kept], place.info.dim)
        )
    return Neighbours(similarity, ids, mixed)


def _stacked(vectors: Vectors, image_ids: np.ndarray, dim: int) -> np.ndarray:
    """float32 [n, d]; zeros for an image that was removed meanwhile."""
    nothing = np.zeros(dim, np.float32)
    return (
        np.stack([vectors.get(i, nothing) for i in image_ids.tolist()])
        if len(image_ids)
        else np.zeros((0, dim), np.float32)
    )
