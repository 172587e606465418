"""Checkpoints whose truth is known: good trainings, harmful ones, collapsed embeddings.

Half of a set's training classes are trained on and the other half scored, so that choosing a figure by this
bench sees no test class.
"""

import dataclasses
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.training.train import Photos, our_start, rounds, teach
from udml.config import Train
from udml.data.catalog import open_store, read_catalog
from udml.evaluation.labelfree import effective_rank
from udml.learning.loop import embedding
from udml.learning.loop.run import Run, TrainingSet
from udml.learning.loop.schedule import planned_steps
from udml.learning.mixing import unit_rows
from udml.learning.views.strong import strong_views
from udml.learning.views.training import fixed_view

MOST_SCORED = 25  # images of a scored class: a figure that needs all of a large one is no help
MOST_TRAINED = 1_200
_FEW = 120
_LEFT_OVER = 8  # directions of a partly collapsed embedding

Change = Callable[[Train], Train]


@dataclass(frozen=True)
class Checkpoint:
    """One model on the scored images of one set.

    Attributes:
        training: how it was trained; a key of `TRAININGS`, "frozen", or a collapse.
        step: optimiser steps taken.
        images, first, second: float32 [n, d], unit rows: of the images, and of two strong views of each.
        rank: effective rank on the training images, as it would ship.
    """

    training: str
    step: int
    images: np.ndarray
    first: np.ndarray
    second: np.ndarray
    rank: float


def _loss(name: str, **settings: float) -> Change:
    def changed(params: Train) -> Train:
        losses = {**params.losses, name: {**params.losses[name], **settings}}
        return dataclasses.replace(params, loss=name, losses=losses)

    return changed


TRAININGS: dict[str, tuple[float, Change]] = {
    "as set": (1.0, lambda params: params),
    "true labels": (1.0, lambda params: params),
    "shuffled labels": (1 / 3, lambda params: params),
    "proxy anchor": (1 / 3, _loss("proxy_anchor")),
    "rate x 10": (1 / 3, lambda params: dataclasses.replace(params, learning_rate=10 * params.learning_rate)),
    "few images": (2 / 3, lambda params: dataclasses.replace(params, clusters=16)),
    "hot": (1 / 3, _loss("nt_xent", temperature=1.0)),
}
"""What is done, and the share of the steps that it is done for: harm shows early."""


def split_classes(prepared: Path, params: Train, most_scored: int = MOST_SCORED) -> Photos:
    """The training classes of a set with labels, every other one to be scored by so many images at most."""
    catalog = read_catalog(prepared)
    given = catalog["split"] == "train"
    classes = sorted(catalog["label"][given].unique())
    lots = np.random.default_rng(0).random(len(catalog))
    rank = catalog.assign(lot=lots).groupby("label")["lot"].rank()
    scored = given & catalog["label"].isin(classes[1::2]) & (rank <= most_scored)
    trained = given & ~catalog["label"].isin(classes[1::2])
    trained &= catalog.assign(lot=lots)["lot"].where(trained).rank() <= MOST_TRAINED
    split = np.where(scored, "test", np.where(trained, "train", "excluded"))
    return Photos(Path(), prepared, catalog.assign(split=split), params)


def checkpoints(photos: Photos, params: Train, kept: Path) -> Iterator[Checkpoint]:
    """Every checkpoint of every training, made where `kept` does not hold it yet."""
    params = dataclasses.replace(params, max_passes=None)  # too many on few images are among the trainings
    for training, (share, change) in TRAININGS.items():
        steps = round(planned_steps(params, 0, 0) * share)
        folder = kept / training.replace(" ", "-")
        if not (folder / "done").exists():
            folder.mkdir(parents=True, exist_ok=True)
            for one in _train(training, photos, change(dataclasses.replace(params, steps=steps))):
                _save(folder / f"{one.training.replace(' ', '-')}-{one.step:04d}.npz", one)
            (folder / "done").touch()
        for path in sorted(folder.glob("*.npz")):
            yield _load(path)


def _train(training: str, photos: Photos, params: Train) -> Iterator[Checkpoint]:
    first = training == next(iter(TRAININGS))
    views = _strong(photos, params)
    with tempfile.TemporaryDirectory() as scratch:
        run = our_start(photos, params, Path(scratch))
        _change(run, training)
        going_on = rounds(run)
        next(going_on)
        if first:
            yield from _untrained(run, photos, views)
        for _ in going_on:
            if "score_mrr" not in run.state.rounds[-1]:  # not a number any more: nothing to judge
                return
            yield _checkpoint(training, run, photos, views)


def _change(run: Run, training: str) -> None:
    """Put what is taught in place of clusters, or few images in place of all."""
    if training == "few images":
        run.data = _few(run.data)
    if training in ("true labels", "shuffled labels"):
        teach(run, shuffled=training == "shuffled labels")
        run.params = dataclasses.replace(run.params, clusters=run.clusters)  # and so none is looked for


def _few(data: TrainingSet) -> TrainingSet:
    images = [data.images[row] for row in range(_FEW)]
    labels = None if data.monitor_labels is None else data.monitor_labels[:_FEW]
    views: Any = np.array(data.views[:_FEW])
    return dataclasses.replace(data, images=images, views=views, monitor_labels=labels)


def _strong(photos: Photos, params: Train) -> list[np.ndarray]:
    """Fixed views of two strong views of each scored image: uint8 [n, S, S, 3] each."""
    store = open_store(photos.prepared, photos.catalog)
    rows = np.flatnonzero(photos.catalog["split"] == "test")
    pictures = [store[int(row)] for row in rows]
    return [
        np.stack(
            [
                fixed_view(one, params.input_px, params.crop_share, params.view_ratio)
                for one in strong_views(pictures, seed)
            ]
        )
        for seed in (0, 1)
    ]


def _checkpoint(training: str, run: Run, photos: Photos, views: list[np.ndarray]) -> Checkpoint:
    """What would ship now, on the scored images."""
    trained = embedding.embed(run, run.data.views, "", True)[0]
    head = embedding.shipping_head(run, trained)
    images, first, second = (
        embedding.embed_features(run, embedding.embed(run, some, "", True)[0], head)
        for some in (photos.test_views, *views)
    )
    rank = effective_rank(embedding.embed_features(run, trained, head))
    return Checkpoint(training, run.state.step, images, first, second, rank)


def _untrained(run: Run, photos: Photos, views: list[np.ndarray]) -> Iterator[Checkpoint]:
    """The whitened start, the raw features of the frozen backbone, and two collapses of the start."""
    start = _checkpoint("whitened", run, photos, views)
    yield start
    images, first, second = (
        unit_rows(embedding.embed(run, some, "", True)[0]) for some in (photos.test_views, *views)
    )
    yield Checkpoint("frozen", 0, images, first, second, run.state.rounds[0]["frozen_effective_rank"])
    directions = np.linalg.svd(start.images - start.images.mean(axis=0), full_matrices=False)[2]
    for name, few in (("partly collapsed", _LEFT_OVER), ("collapsed", 1)):
        images, first, second = (
            unit_rows(some @ directions[:few].T) for some in (start.images, start.first, start.second)
        )
        yield Checkpoint(name, 0, images, first, second, effective_rank(images))


def _save(path: Path, one: Checkpoint) -> None:
    """Half precision is kept: it moves no neighbour that matters."""
    vectors = {name: getattr(one, name).astype(np.float16) for name in ("images", "first", "second")}
    np.savez(path, training=one.training, step=one.step, rank=one.rank, **vectors)


def last_of(training: str, kept: Path) -> Checkpoint:
    """The last checkpoint of a training that `checkpoints` has kept.

    Raises:
        SystemExit: if there is none.
    """
    name = training.replace(" ", "-")
    found = sorted((kept / name).glob(f"{name}-*.npz"))
    if not found:
        raise SystemExit(f"{kept} holds no training {training!r}; run `python -m benchmarks.verdict` first")
    return _load(found[-1])


def _load(path: Path) -> Checkpoint:
    with np.load(path) as kept:
        images, first, second = (
            unit_rows(kept[name].astype(np.float32)) for name in ("images", "first", "second")
        )
        return Checkpoint(
            str(kept["training"]), int(kept["step"]), images, first, second, float(kept["rank"])
        )
