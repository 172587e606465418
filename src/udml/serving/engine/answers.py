"""What a search answers, and what answered."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Hit:
    """One neighbour.

    Attributes:
        image_id: stable id of the image in the collection.
        similarity: cosine, -1..1; 1 is the same picture.
        source: its path inside the imported folder, or the name it was added under.
        label: its class, or None where nobody named it.
    """

    image_id: int
    similarity: float
    source: str
    label: str | None


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
