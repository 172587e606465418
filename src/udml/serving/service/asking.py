"""A search as a request puts it: pictures that were sent, images of the collection, or several of both."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from fastapi import Request

from udml.collection.outcome import NoImageError
from udml.cropping import Crop
from udml.errors import UdmlError
from udml.search.mixed_query import mixed_query
from udml.serving.engine.answers import Hit, Wanted
from udml.serving.service.problems import Problem
from udml.serving.service.service import Service
from udml.serving.service.switching import OpenVersion
from udml.serving.service.uploads import Upload

MAX_PICTURES = 16  # of one query; each is decoded and embedded
LIKE, UNLIKE = "image", "unlike"  # parts of a form


@dataclass(frozen=True)
class Asked:
    """What a query is made of beside the pictures that are sent along.

    Attributes:
        like: images of the collection to be like.
        unlike: images of the collection to stay away from.
        crop: the part of the first picture to be like that counts; None for all of it.
    """

    like: Sequence[int]
    unlike: Sequence[int]
    crop: Crop | None


async def search(
    service: Service, request: Request, version: OpenVersion, wanted: Wanted, asked: Asked
) -> tuple[list[Hit], int]:
    """What is found with the pictures of a request, and how many these are; those with an id are left out.

    Raises:
        Problem: no picture to be like, too many of them, one that can't be used, or nothing is left of the
            query; and whatever the limits of the service say.
    """
    async with service.uploads.read(request, fields=(LIKE, UNLIKE)) as uploads:
        pictures = _count(uploads, asked)
        async with service.deadline():
            if len(uploads) == 1 and not (asked.like or asked.unlike or wanted.collapse):
                answer = await service.batcher.ask(version, uploads[0].data, wanted, asked.crop)
                return answer.hits, pictures
            query = await _query(service, version, uploads, asked)
            left_out = [*asked.like, *asked.unlike]
            how = (wanted.k, wanted.threshold, wanted.refine, wanted.collapse, left_out, wanted.where)
            find = version.searcher.neighbours
            return (await service.run(version, lambda: find(query[None], *how)))[0], pictures


def _count(uploads: Sequence[Upload], asked: Asked) -> int:
    if not asked.like and not any(upload.field == LIKE for upload in uploads):
        raise Problem(400, "one_image", "send one image as the body, or name one of the collection by its id")
    count = len(uploads) + len(asked.like) + len(asked.unlike)
    if count > MAX_PICTURES:
        raise Problem(
            400, "too_many_images", f"a query may have {MAX_PICTURES} pictures at most; these are {count}"
        )
    return count


async def _query(
    service: Service, version: OpenVersion, uploads: Sequence[Upload], asked: Asked
) -> np.ndarray:
    """The vector that stands for it all, float32 [d]."""
    ids = [*asked.like, *asked.unlike]
    vectors = await service.run(version, lambda: [_vector(version, one) for one in ids]) if ids else []
    like, unlike = vectors[: len(asked.like)], vectors[len(asked.like) :]
    sent: dict[str, list[np.ndarray]] = {LIKE: [], UNLIKE: []}
    for upload in uploads:  # one after the other: no query takes many places in the queue
        crop = asked.crop if upload.field == LIKE and not sent[LIKE] else None
        sent[upload.field].append((await service.batcher.ask(version, upload.data, crop=crop)).vector)
    if asked.crop and not sent[LIKE]:
        data = await service.run(version, lambda: version.searcher.image_bytes(asked.like[0]))
        like[0] = (await service.batcher.ask(version, data, crop=asked.crop)).vector
    like, unlike = sent[LIKE] + like, sent[UNLIKE] + unlike
    if len(like) == 1 and not unlike:
        return like[0]
    try:
        return mixed_query(like, unlike)
    except UdmlError as error:
        raise Problem(422, "nothing_left", str(error)) from error


def _vector(version: OpenVersion, image_id: int) -> np.ndarray:
    try:
        return version.searcher.collection.vector(image_id)
    except NoImageError as error:
        raise Problem(404, "not_found", f"there is no image {image_id:016x} in the collection") from error
