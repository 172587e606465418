"""What the API sends, as OpenAPI shows it. Ids are 16 hex digits: JavaScript rounds large numbers."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field

from udml.collection import outcome
from udml.search import items
from udml.search.columns import Kind
from udml.serving.engine import answers

Id = Annotated[
    str, Field(pattern="^[0-7][0-9a-f]{15}$", description="id of an image", examples=["00d1f3a95b7c2e48"])
]
Refine = Literal["neighbourhood", "none"]


def hex_id(image_id: int) -> str:
    """An id as the API writes it."""
    return f"{image_id:016x}"


class ProblemBody(BaseModel):
    """application/problem+json."""

    type: Literal["about:blank"]
    title: str
    status: int
    code: str = Field(description="a short name that never changes")
    detail: str = Field(description="what is wrong, and what to do about it")


class Versioned(BaseModel):
    """An answer of exactly one version."""

    version: str = Field(description="which version answered", examples=["v3"])


class Embedding(Versioned):
    """The vector of an image."""

    model_version: str = Field(description="vectors can be compared within one model version only")
    embedding: list[float] = Field(description="of unit length")


class Item(BaseModel):
    """An image of the collection."""

    id: Id
    source: str = Field(description="its path in the imported folder, or the name it was added under")
    label: str | None = Field(description="its class, where somebody named it")

    @classmethod
    def of(cls, item: items.Item) -> Self:
        """As the engine has it."""
        return cls(id=hex_id(item.image_id), source=item.source, label=item.label)


class Found(Item):
    """An image that was found."""

    similarity: float = Field(description="cosine, -1 to 1; 1 is the same picture")

    @classmethod
    def of_hit(cls, hit: answers.Hit) -> Self:
        """As the engine found it."""
        return cls(id=hex_id(hit.image_id), source=hit.source, label=hit.label, similarity=hit.similarity)


class Neighbour(Found):
    """An image that was found, and where near-duplicates collapse, those of it."""

    copies: list[Found] = Field(
        description="with collapse=true its near-duplicates, most similar first, 200 at most; else none"
    )

    @classmethod
    def of_hit(cls, hit: answers.Hit) -> Self:
        """As the engine found it."""
        return cls(
            id=hex_id(hit.image_id),
            source=hit.source,
            label=hit.label,
            similarity=hit.similarity,
            copies=[Found.of_hit(copy) for copy in hit.copies],
        )


class Neighbours(Versioned):
    """What was found, best first."""

    refine: Refine = Field(description="the order they are in; `none` where the index has no neighbourhoods")
    no_match_below: float | None = Field(
        description="calibrated: an image less similar is no match; null where that is not known, as for a "
        "query of several pictures"
    )
    matching: int | None = Field(description="images that meet `where`; null where nothing was asked for")
    neighbours: list[Neighbour]


class Items(Versioned):
    """Some images of the collection."""

    images: int = Field(description="in the collection, or those of it that meet `where`")
    items: list[Item]


class MapItems(Versioned):
    """Images behind points of the map."""

    items: list[Item]


class ItemAnswer(Versioned):
    """One image of the collection."""

    item: Item


class Group(BaseModel):
    """Images that look alike."""

    cluster: int = Field(description="its number, in this version only")
    images: int
    examples: list[Item] = Field(description="the most typical first")


class Groups(Versioned):
    """The collection in groups, largest first."""

    images: int = Field(description="in the collection")
    grouped: int = Field(description="of these; a random sample where the collection is large")
    clusters: list[Group]


class GroupItems(Versioned):
    """A stretch of one group."""

    cluster: int
    images: int
    items: list[Item] = Field(description="the most typical first")


class AddedItem(BaseModel):
    """What became of an image that was sent."""

    id: Id | None = Field(description="of its content in the collection; null where it was refused")
    source: str = Field(description="the name it was sent under")
    status: outcome.Status = Field(description="present and restored: the same file was, or had been, there")
    problem: str = Field(description="why it was refused, or empty")
    name: str = Field(
        description="its name in the collection, another one where `source` was taken; or empty"
    )

    @classmethod
    def of(cls, added: outcome.Added) -> Self:
        """As the engine did it."""
        number = added.image_id
        return cls(
            id=None if number is None else hex_id(number),
            source=added.source,
            status=added.status,
            problem=added.problem,
            name=added.name,
        )


class AddedItems(Versioned):
    """What was added, in the order in which it was sent; it is on disk."""

    items: list[AddedItem]


class RemovedItems(Versioned):
    """What was removed; that is on disk."""

    removed: list[Id]


class FilterColumn(BaseModel):
    """What a filter may ask for."""

    name: str
    kind: Kind


class VersionAnswer(Versioned):
    """What serves."""

    model_version: str
    images: int
    dim: int = Field(description="length of a vector")
    revision: int = Field(description="how often the collection was changed")
    no_match_below: float | None = Field(description="calibrated: an image less similar is no match")
    columns: list[FilterColumn] = Field(description="what `where` may ask for")
    writes: Literal["open", "key", "off"] = Field(description="who may add and remove images")
    refused: str | None = Field(description="why the present champion is not what serves, where it isn't")


class Health(BaseModel):
    """It lives."""

    status: Literal["ok"]


class Readiness(Health):
    """It can search."""

    behind: list[Literal["champion", "keys"]] = Field(
        description="what was changed, but is not in force: it could not be read yet; the log says why"
    )
