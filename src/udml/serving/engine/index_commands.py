"""`udml index add | remove | compact`: what each of them does with the champion's collection, and prints."""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from udml import paths
from udml.collection.outcome import NewFile, Status
from udml.data.identity import image_id
from udml.errors import UdmlError
from udml.pixels import Reason
from udml.progress import progress
from udml.registry import store
from udml.serving.engine.compaction import compact as fold
from udml.serving.engine.searcher import Searcher

MAX_FILE_BYTES = 512 * 1024**2  # larger files are no photos
_FILES_AT_ONCE = 64  # one change of the collection each
_BYTES_AT_ONCE = 256 * 1024**2


def add(given: Sequence[Path]) -> None:
    """Add image files, and all files below folders; what is there already is not embedded again.

    Whatever was printed as added stays added if this is interrupted; run again, it goes on.

    Raises:
        UdmlError: if there is no champion, a path does not exist, or no file could be used.
    """
    counts: Counter[Status] = Counter()
    files = []
    for source, path in _named_files(given):
        if path.stat().st_size <= MAX_FILE_BYTES:
            files.append((source, path))
        else:
            counts[Status.REFUSED] += 1
            print(f"left out {source}: {Reason.TOO_LARGE.sentence}", file=sys.stderr)
    with _champion() as searcher, progress(range(len(files)), "add", unit="file") as bar:
        for batch in _batches(files):
            for done in searcher.add(batch):
                counts[done.status] += 1
                if done.status == Status.REFUSED:
                    print(f"left out {done.source}: {done.problem}", file=sys.stderr)
            bar.update(len(batch))
        name, images = searcher.version.name, len(searcher)
    print(", ".join(f"{count} {status}" for status, count in sorted(counts.items())))
    print(f"the collection over {name} has {images:,} images")
    if counts[Status.REFUSED] == counts.total():
        raise UdmlError("none of these files is a usable image", "name pictures, or a folder of them")


def remove(names: Sequence[str]) -> None:
    """Remove images by id or by source path.

    Raises:
        UdmlError: if there is no champion, or one of them is not in the collection; then none is removed.
    """
    with _champion() as searcher:
        known = searcher.collection.items(int(name) for name in names if _is_id(name))
        ids = [int(name) if _is_id(name) and int(name) in known else image_id(name) for name in names]
        for name, key in zip(names, ids, strict=True):
            try:
                searcher.item(key)
            except UdmlError as error:
                raise UdmlError(
                    f"there is no image {name} in the collection",
                    "name images by id, or by their path inside the imported folder",
                ) from error
        searcher.remove(ids)
        print(f"removed {len(set(ids))}; the collection has {len(searcher):,} images")


def compact(min_share: float) -> None:
    """Fold what was added and removed into a new version, and promote it."""
    new = fold(paths.MODELS, paths.DATA, min_share)
    if new is None:
        print("the index is as it should be: nothing, or too little, was added or removed")
    else:
        print(f"the champion is {new.name}, {new.images:,} images; `udml models rollback` goes back")


def _champion() -> Searcher:
    return Searcher.open(store.version_directory(paths.MODELS, store.CHAMPION))


def _named_files(given: Sequence[Path]) -> Iterator[tuple[str, Path]]:
    """Files with the name each is added under: a folder's files by their path inside it, as in an import."""
    for path in given:
        if path.is_dir():
            inside = sorted(p.relative_to(path) for p in path.rglob("*") if p.is_file())
            shown = [p for p in inside if not any(part.startswith(".") for part in p.parts)]
            if not shown:
                raise UdmlError(f"no files in {path}", "name a folder that holds images")
            yield from ((p.as_posix(), path / p) for p in shown)
        elif path.exists():
            yield path.name, path
        else:
            raise UdmlError(f"no such file or folder: {path}", "check the path")


def _batches(files: Sequence[tuple[str, Path]]) -> Iterator[list[NewFile]]:
    """The files' contents, so many at a time as memory allows."""
    batch: list[NewFile] = []
    for source, path in files:
        data = path.read_bytes()
        if batch and (
            len(batch) == _FILES_AT_ONCE or sum(len(f.data) for f in batch) + len(data) > _BYTES_AT_ONCE
        ):
            yield batch
            batch = []
        batch.append(NewFile(source, data))
    if batch:
        yield batch


def _is_id(name: str) -> bool:
    return name.isascii() and name.isdigit() and int(name) < 2**63
