"""The workspace's test images and the models compared on them, as pairs that people can be asked about."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from udml import paths
from udml.data.catalog import CATALOG_FILE, ImageStore, open_store, read_catalog
from udml.data.shards import read_bytes
from udml.errors import UdmlError
from udml.files import atomic_path, fingerprint, read_json, remove, scratch_directory, sha256_file
from udml.judgement.pairs import Pairs, pool
from udml.judgement.results import queries_of, results
from udml.pixels import Undecodable, decode
from udml.search.chunks import CHUNK_ROWS, embed_store_resumably
from udml.search.embedder import Embedder
from udml.search.gallery import INFO_FILE, open_index, vectors_of

_SHOWN_PX = 640


class NothingToCompareError(UdmlError):
    """There are not two different models."""


@dataclass(frozen=True)
class Model:
    """A model that is compared.

    Attributes:
        kind: "baseline", "champion" or "challenger".
        title: in words, for people.
        path: of the ONNX file.
    """

    kind: str
    title: str
    path: Path


@dataclass(frozen=True)
class Deck:
    """What there is to judge.

    Attributes:
        models: the compared ones; no two are the same model.
        kinds: number among them of the model of each kind; two kinds may be one model.
        versions: their model versions.
        pairs: pooled from what they find.
        picture: pixels of an image file by its sha256, uint8 [h, w, 3].
    """

    models: Sequence[Model]
    kinds: Mapping[str, int]
    versions: Sequence[str]
    pairs: Pairs
    picture: Callable[[str], np.ndarray]


@dataclass(frozen=True)
class _Test:
    """The workspace's test images.

    Attributes:
        rows: int64 [n], of the catalogue.
        ids, groups: of the n images.
        shas: of the n files.
        store: their pixels.
        refined: whether the search that ships is by neighbourhoods.
    """

    rows: np.ndarray
    ids: np.ndarray
    groups: np.ndarray
    shas: list[str]
    store: ImageStore
    refined: bool


def open_deck(models: Sequence[Model]) -> Deck:
    """Let models find among the workspace's test images, and pool what they find.

    What they found is kept in the scratch directory, so the next time this takes a second.

    Args:
        models: to compare; of those that are the same model the first is taken.

    Raises:
        NothingToCompareError: if there are fewer than two models.
        UdmlError: if an earlier stage's output is missing.
    """
    test = _test_images()
    scratch = scratch_directory("judge", fingerprint(sha256_file(paths.PREPARED / CATALOG_FILE), CHUNK_ROWS))
    found: list[np.ndarray] = []
    vectors: list[np.ndarray] = []
    kept: list[Model] = []
    versions: list[str] = []
    kinds: dict[str, int] = {}
    files: list[Path] = []
    for model in models:
        embedder = Embedder(model.path)
        version = embedder.card.model_version
        kinds[model.kind] = versions.index(version) if version in versions else len(versions)
        if version not in versions:
            files += _looked_up(embedder, model, test, scratch)
            vectors.append(np.load(files[-2], mmap_mode="r"))
            found.append(np.load(files[-1]))
            kept.append(model)
            versions.append(version)
    for path in set(scratch.iterdir()) - set(files):  # of models that are not compared any more
        remove(path)
    if len(kept) < 2:
        raise NothingToCompareError(
            "there are not two different models to compare", "train one with `dvc repro` first"
        )
    places = dict(zip(test.shas, test.rows.tolist(), strict=True))
    return Deck(kept, kinds, versions, pool(found, vectors, test.shas), _pictures(test.store, places))


def _test_images() -> _Test:
    catalog = read_catalog(paths.PREPARED)
    rows = np.flatnonzero((catalog["split"] == "test").to_numpy())
    part = catalog.iloc[rows]
    if not (paths.INDEXED / INFO_FILE).exists():
        raise UdmlError(f"there is no index at {paths.INDEXED}", "run `dvc repro` first")
    return _Test(
        rows=rows,
        ids=part["image_id"].to_numpy(),
        groups=part["group"].to_numpy(),
        shas=[str(sha256) for sha256 in part["sha256"]],
        store=open_store(paths.PREPARED, catalog),
        refined=bool(read_json(paths.INDEXED / INFO_FILE).get("mixed_neighbours")),
    )


def _looked_up(embedder: Embedder, model: Model, test: _Test, scratch: Path) -> list[Path]:
    """Files of a model's vectors of the test images and of what it finds; made if they are not there."""
    name = sha256_file(model.path)[:16]
    vectors = scratch / f"{name}.npy"
    found = scratch / f"{name}.{'refined' if test.refined else 'plain'}.npy"
    if not vectors.exists():
        _write(vectors, _embedded(embedder, model, test, scratch / name))
    if not found.exists():
        _write(
            found, results(np.load(vectors, mmap_mode="r"), test.groups, queries_of(test.shas), test.refined)
        )
    return [vectors, found]


def _embedded(embedder: Embedder, model: Model, test: _Test, scratch: Path) -> np.ndarray:
    """Vectors of the test images, float32 [n, d]: those of the index where the model made it."""
    if read_json(paths.INDEXED / INFO_FILE)["model_version"] == embedder.card.model_version:
        return vectors_of(open_index(paths.INDEXED, embedder.card), test.ids)
    scratch.mkdir(exist_ok=True)
    what = f"embed with {model.title}"
    chunks = embed_store_resumably(embedder, test.store, test.rows, scratch, what)
    return np.concatenate([np.empty((0, embedder.card.embedding_dim), np.float32), *chunks])


def _write(path: Path, array: np.ndarray) -> None:
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.save(file, array)


def _pictures(store: ImageStore, rows: Mapping[str, int]) -> Callable[[str], np.ndarray]:
    """Pixels by sha256: of the original where it is at hand, else as the models saw it."""
    catalog = read_catalog(paths.PREPARED, ["data_shard", "data_offset", "size_bytes", "width", "height"])

    def picture(sha256: str) -> np.ndarray:
        row = rows[sha256]
        place = catalog.iloc[row]
        try:
            where = int(place.data_shard), int(place.data_offset), int(place.size_bytes)
            pixels = int(place.width) * int(place.height)  # prepare let it through at this size
            return decode(read_bytes(paths.DATA, *where), _SHOWN_PX, max_pixels=pixels).pixels
        except (UdmlError, Undecodable):
            return np.array(store[row])

    return picture
