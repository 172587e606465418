"""Adding images to the collection and removing them: on disk before the answer."""

from collections.abc import Sequence

from udml.collection.outcome import Added, NewFile, Status
from udml.serving.service.problems import Problem
from udml.serving.service.service import Service
from udml.serving.service.switching import OpenVersion
from udml.serving.service.uploads import Upload


async def add_uploads(
    service: Service, version: OpenVersion, uploads: Sequence[Upload], label: str | None
) -> list[Added]:
    """Add the images that can be used, each decoded once; durable when this returns.

    Raises:
        Problem: if none of them can be used, too many wait, or it takes too long: none is added then.
    """
    files: dict[int, NewFile] = {}
    by_number: dict[int, Added] = {}
    async with service.deadline():
        for number, upload in enumerate(uploads):  # one after the other: they take few places in the queue
            try:
                pixels = await service.batcher.decode(version, upload.data)
                files[number] = NewFile(upload.name, upload.data, label, pixels)
            except Problem as problem:
                if len(uploads) == 1 or problem.status == 503:
                    raise
                by_number[number] = Added(upload.name, None, Status.REFUSED, problem.sentence)
        if files:
            done = await service.write(version, lambda: version.searcher.add(list(files.values())))
            by_number |= dict(zip(files, done, strict=True))
    if all(added.status == Status.REFUSED for added in by_number.values()):
        raise Problem(422, "none_added", "; ".join(added.problem for added in by_number.values()))
    return [by_number[number] for number in range(len(uploads))]
