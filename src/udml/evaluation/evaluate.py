"""The evaluate stage: score what ships beside the frozen backbone it started from."""

from pathlib import Path

import numpy as np
import pandas as pd

from udml import paths
from udml.compute.engine import engine_of
from udml.compute.work import Run
from udml.config import Params
from udml.data.catalog import CATALOG_FILE, SUMMARY_FILE, open_store, read_catalog
from udml.errors import UdmlError
from udml.evaluation.files import write_metrics, write_plots, write_protocols
from udml.evaluation.protocols import EvaluationSet
from udml.evaluation.results import Evaluation
from udml.evaluation.scoring import ModelVectors, compare_models, view_sources
from udml.files import discard_scratch, fingerprint, read_json, scratch_directory, sha256_file
from udml.search.chunks import CHUNK_ROWS, Chunks, Views, embed_chunks
from udml.search.embedder import Embedder
from udml.search.gallery import GalleryIndex, open_index, vectors_of

_FROZEN_FILE = "frozen.onnx"
_WHITENED_FILE = "whitened.onnx"


def evaluate(params: Params) -> Evaluation:
    """Score the shipped model beside the frozen backbone; write its figures, how they came about, and plots.

    The trained model's vectors are read from the index that ships, the frozen backbone's are made by
    `frozen.onnx` and, whitened, by `whitened.onnx`; all see the same decoded pixels. Paths are those of
    `udml.paths`, relative to the working directory.

    Raises:
        UdmlError: if an earlier stage's output is missing or out of date, or the embeddings are not
            fit to be scored.
    """
    whitened = paths.EXPORTED / _WHITENED_FILE
    evaluation = compare_with(paths.EXPORTED / _FROZEN_FILE, params, whitened if whitened.exists() else None)
    write_metrics(paths.METRICS, evaluation)
    write_protocols(paths.PROTOCOLS, evaluation)
    write_plots(paths.PLOTS, evaluation)
    return evaluation


def compare_with(other_model: Path, params: Params, whitened: Path | None = None) -> Evaluation:
    """Score the shipped model beside another one, both on the workspace's test images.

    Args:
        other_model: an ONNX file that `udml export` wrote, here or elsewhere. It sees the pixels of this
            workspace's store, whatever size it was trained with.
        params: the settings.
        whitened: the frozen backbone, whitened; None if it is not to be scored.

    Returns:
        An evaluation whose `frozen` is the other model.

    Raises:
        UdmlError: as `evaluate`.
    """
    catalog = read_catalog(paths.PREPARED)
    store = open_store(paths.PREPARED, catalog)
    test = read_test_set(catalog, read_json(paths.PREPARED / SUMMARY_FILE)["data_version"])
    shipped = Embedder(paths.MODEL)
    index = open_index(paths.INDEXED, shipped.card)
    _require_same_data(index, test)
    shown = view_sources(test.groups, params.evaluate.seed)
    views = Views(store, test.rows[shown], params.evaluate.seed)
    image_ids = catalog["image_id"].to_numpy()[test.rows]
    others = [other_model, *([whitened] if whitened else [])]
    hashes = [sha256_file(path) for path in (paths.MODEL, *others)]
    key = fingerprint(*hashes, sha256_file(paths.PREPARED / CATALOG_FILE), CHUNK_ROWS)
    scratch = scratch_directory("evaluate", key)
    run = engine_of(params.compute, "udml.search.chunks")
    own = Chunks(store, test.rows[:0], _made(scratch / "shipped"), views)
    embed_chunks(shipped, own, "views", run)
    shown_to_it = own.view_vectors(shipped.card.embedding_dim)
    models = [ModelVectors(shipped.card, vectors_of(index, image_ids), shown_to_it)]
    for number, path in enumerate(others):
        chunks = Chunks(store, test.rows, _made(scratch / str(number)), views)
        models.append(_embed(Embedder(path), chunks, f"embed with {path}", run))
    evaluation = compare_models(test, shown, models, params.evaluate, refined=index.mixed is not None)
    discard_scratch(scratch)
    return evaluation


def read_test_set(catalog: pd.DataFrame, data_version: str) -> EvaluationSet:
    """The test rows of the catalogue; labels become codes in alphabetical order, -1 for none."""
    rows = np.flatnonzero((catalog["split"] == "test").to_numpy())
    test = catalog.iloc[rows]
    codes, names = pd.factorize(test["label"], sort=True)  # missing becomes -1
    return EvaluationSet(
        rows=rows.astype(np.int64),
        labels=codes.astype(np.int64),
        class_names=tuple(str(name) for name in names),
        groups=test["group"].to_numpy().astype(np.int64),
        roles=test["role"].to_numpy().astype(str),
        data_version=data_version,
    )


def _require_same_data(index: GalleryIndex, test: EvaluationSet) -> None:
    if index.info.data_version != test.data_version:
        raise UdmlError(
            f"the index is of data {index.info.data_version}, the catalogue of data {test.data_version}",
            "build the index again with `dvc repro index`",
        )


def _made(directory: Path) -> Path:
    directory.mkdir(exist_ok=True)
    return directory


def _embed(embedder: Embedder, chunks: Chunks, description: str, run: Run) -> ModelVectors:
    """Vectors of the test images and of the views; what is made stays in scratch until all is done."""
    embed_chunks(embedder, chunks, description, run)
    dim = embedder.card.embedding_dim
    images = np.concatenate([np.empty((0, dim), np.float32), *chunks.vectors()])
    return ModelVectors(embedder.card, images, chunks.view_vectors(dim))
