"""What a search is asked for, what it answers, and what answered."""

from dataclasses import dataclass
from typing import Literal

Refine = Literal["auto", "none"]


@dataclass(frozen=True)
class Wanted:
    """What is to be found for a query.

    Attributes:
        k: how many, at least 1.
        threshold: the lowest similarity that counts, -1..1; None for no limit.
        refine: "auto" orders by neighbourhoods where the index knows them, "none" by similarity alone.
        collapse: near-duplicates come as one hit with copies, and count once among the k.
        where: a filter that what is found meets; see `udml.collection.filtering`. None for none.
    """

    k: int
    threshold: float | None = None
    refine: Refine = "auto"
    collapse: bool = False
    where: str | None = None


@dataclass(frozen=True)
class Hit:
    """One neighbour.

    Attributes:
        image_id: stable id of the image in the collection.
        similarity: cosine, -1..1; 1 is the same picture.
        source: its path inside the imported folder, or the name it was added under.
        label: its class, or None where nobody named it.
        copies: where near-duplicates collapse, the others of its group, most similar first; else none.
    """

    image_id: int
    similarity: float
    source: str
    label: str | None
    copies: tuple["Hit", ...] = ()


@dataclass(frozen=True)
class Version:
    """What answers a search.

    Attributes:
        name: "v1", "v2", ...; "workspace" for a model that is not registered.
        model_version: 16 hex digits that identify weights and preprocessing.
        data_version: of the imported images in the index.
        revision: number of the last change to the collection that answers count in; 0 before the first.
    """

    name: str
    model_version: str
    data_version: str
    revision: int
