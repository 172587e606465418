"""What a request for a search says in its query."""

from typing import Annotated

from pydantic import BaseModel, Field, field_validator

from udml.collection.filtering.tokens import MOST_LETTERS
from udml.cropping import Crop
from udml.errors import UdmlError
from udml.serving.engine.answers import Wanted
from udml.serving.http.schemas import Id, Refine
from udml.serving.service.asking import MAX_PICTURES, Asked

_DECIMAL = r"[0-9]*\.?[0-9]+"
Where = Annotated[
    str | None,
    Field(
        max_length=MOST_LETTERS,
        description="what is found meets this filter; docs/search.md has its grammar",
        examples=["folder = '2024/*' and taken > 2024-05"],
    ),
]
Ids = Annotated[list[Id], Field(max_length=MAX_PICTURES)]


class SearchQuery(BaseModel):
    """What is to be found, and with what beside the pictures that are sent along."""

    k: int = Field(8, ge=1, le=200, description="neighbours wanted")
    threshold: float | None = Field(None, ge=-1, le=1, description="leave out what is less similar")
    refine: Refine = Field(
        "neighbourhood", description="order by neighbourhoods, where the index knows them, or not"
    )
    collapse: bool = Field(
        False, description="near-duplicates count once, and come as `copies` of the best of them"
    )
    where: Where = None
    id: Ids = Field([], description="images of the collection to be like")
    unlike: Ids = Field([], description="images of the collection to stay away from")
    crop: str | None = Field(
        None,
        pattern=f"^{_DECIMAL}(,{_DECIMAL}){{3}}$",
        max_length=100,
        description="part of the first picture, upright: x,y,width,height in fractions of it",
        examples=["0.25,0.25,0.5,0.5"],
    )

    @field_validator("crop")
    @classmethod
    def _is_inside(cls, crop: str | None) -> str | None:
        try:
            if crop is not None:
                Crop.parse(crop)
        except UdmlError as error:
            raise ValueError(str(error)) from error
        return crop

    def wanted(self) -> Wanted:
        """As the engine has it."""
        return Wanted(
            self.k, self.threshold, "none" if self.refine == "none" else "auto", self.collapse, self.where
        )

    def asked(self) -> Asked:
        """As the service has it."""
        like, unlike = ([int(one, 16) for one in ids] for ids in (self.id, self.unlike))
        return Asked(like, unlike, None if self.crop is None else Crop.parse(self.crop))
