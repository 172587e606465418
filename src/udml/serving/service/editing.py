"""Adding images to the collection and removing them: on disk before the answer."""

from collections.abc import Sequence

from udml.collection.outcome import Added, Status
from udml.serving.engine.searcher import Searcher
from udml.serving.service.batching import decode_bounded
from udml.serving.service.problems import Problem
from udml.serving.service.uploads import Upload


def add_uploads(
    searcher: Searcher, uploads: Sequence[Upload], label: str | None, max_pixels: int
) -> list[Added]:
    """Add the images that can be used; durable when this returns.

    Raises:
        Problem: if none of them can be used.
    """
    fit: list[int] = []
    refused: dict[int, Added] = {}
    for number, upload in enumerate(uploads):
        try:
            decode_bounded(searcher, upload.data, max_pixels)
            fit.append(number)
        except Problem as problem:
            if len(uploads) == 1:
                raise
            refused[number] = Added(upload.name, None, Status.REFUSED, problem.sentence)
    done = searcher.add([(uploads[number].name, uploads[number].data, label) for number in fit])
    by_number = refused | dict(zip(fit, done, strict=True))
    if all(added.status == Status.REFUSED for added in by_number.values()):
        raise Problem(422, "none_added", "; ".join(added.problem for added in by_number.values()))
    return [by_number[number] for number in range(len(uploads))]
