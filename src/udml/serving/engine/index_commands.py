"""`udml index add | remove | compact`: what each of them does with the champion's collection, and prints."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from udml import paths
from udml.collection.outcome import Added, NewFile, Status
from udml.collection.shared.following import shared_store
from udml.data.identity import image_id
from udml.errors import UdmlError
from udml.pixels import Reason
from udml.progress import progress
from udml.registry import store
from udml.serving.engine.compaction import compact as fold
from udml.serving.engine.searcher import Searcher
from udml.text import printable, source_name
from udml.walking.given import given_files
from udml.walking.rules import WalkRules
from udml.walking.told import SHOWN, say_how_many, say_left_out

MAX_FILE_BYTES = 512 * 1024**2  # larger files are no photos
_AS_IT_LIES = WalkRules()
_FILES_AT_ONCE = 64  # one change of the collection each
_BYTES_AT_ONCE = 256 * 1024**2


def add(given: Sequence[Path], rules: WalkRules = _AS_IT_LIES) -> None:
    """Add image files, and the pictures below folders; what is there already is not embedded again.

    Whatever was printed as added stays added if this is interrupted; run again, it goes on.

    Raises:
        UdmlError: if there is no champion, a path does not exist, or no file could be used.
    """
    counts: Counter[Status] = Counter()
    told: Counter[str] = Counter()
    renamed = 0
    found = given_files(given, rules)
    files = []
    for item in found:
        source = source_name(item.relative)
        if item.path.stat().st_size <= MAX_FILE_BYTES:
            files.append((source, item.path))
        else:
            say_left_out(told, source, Reason.TOO_LARGE.sentence)
    with _champion() as searcher, progress(range(len(files)), "add", unit="file") as bar:
        for batch in _batches(files, told):
            for done in searcher.add(batch):
                counts[done.status] += done.status != Status.REFUSED  # they are counted by reason
                renamed += _tell(done, told, renamed)
            bar.update(len(batch))
        name, images = searcher.version.name, len(searcher)
    say_how_many(told)
    if renamed > SHOWN:
        print(f"{renamed:,} files in all got another name")
    counts[Status.REFUSED] = told.total()
    counts = +counts  # without those that are 0
    print(", ".join(f"{count} {status}" for status, count in sorted(counts.items())))
    print(f"the collection over {name} has {images:,} images")
    if counts[Status.REFUSED] == counts.total():
        raise UdmlError("none of these files is a usable image", "name pictures, or a folder of them")


def _tell(done: Added, told: Counter[str], renamed: int) -> bool:
    """Say what is unexpected of a file: the first few by name. Returns whether it got another name."""
    if done.status == Status.REFUSED:
        say_left_out(told, done.source, done.problem)
    if done.status != Status.ADDED or done.name == done.source:
        return False
    if renamed < SHOWN:
        print(f"{printable(done.source)} is called {printable(done.name)}: the name was taken")
    return True


def remove(names: Sequence[str]) -> None:
    """Remove images by id or by source path.

    Raises:
        UdmlError: if there is no champion, or one of them is not in the collection; then none is removed.
    """
    with _champion() as searcher:
        known = searcher.collection.items(int(name) for name in names if _is_id(name))
        ids = [
            int(name) if _is_id(name) and int(name) in known else image_id(source_name(name))
            for name in names
        ]
        for name, key in zip(names, ids, strict=True):
            try:
                searcher.item(key)
            except UdmlError as error:
                raise UdmlError(
                    f"there is no image {printable(name)} in the collection",
                    "name images by id, or by their path inside the imported folder",
                ) from error
        searcher.remove(ids)
        print(f"removed {len(set(ids))}; the collection has {len(searcher):,} images")


def compact(min_share: float) -> None:
    """Fold what was added and removed into a new version, and promote it."""
    if shared_store(paths.MODELS) is not None:
        raise UdmlError(
            "in Milvus nothing needs to be folded", "what is added there is a row like all others"
        )
    new = fold(paths.MODELS, paths.DATA, min_share)
    if new is None:
        print("the index is as it should be: nothing, or too little, was added or removed")
    else:
        print(f"the champion is {new.name}, {new.images:,} images; `udml models rollback` goes back")


def _champion() -> Searcher:
    champion = store.version_directory(paths.MODELS, store.CHAMPION)
    shared = shared_store(paths.MODELS)
    if shared is None:
        return Searcher.open(champion)
    from udml.serving.engine.shared import open_champion

    return open_champion(shared, paths.MODELS, paths.DATA)


def _batches(files: Sequence[tuple[str, Path]], told: Counter[str]) -> Iterator[list[NewFile]]:
    """The files' contents, so many at a time as memory allows; those that can't be read are counted."""
    batch: list[NewFile] = []
    for source, path in files:
        try:
            data = path.read_bytes()
        except OSError as error:
            say_left_out(told, source, f"{Reason.UNREADABLE.sentence}: {error.strerror}")
            continue
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
