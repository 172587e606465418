"""Training beside the authors' way of doing it, on the same photos and the same batches' composition.

    python -m benchmarks.training.train steps --data ../shared/data/grocery     time per step, in turns
    python -m benchmarks.training.train quality --data ../shared/data/grocery   time until a model is as good
    python -m benchmarks.training.train losses --data ../shared/data/grocery    which loss to train with

`benchmarks/training/authors_way.py` says what the authors' way is. Both train on classes 0-40 of the Grocery
Store Dataset without labels. `quality` lets the authors' way finish its 240 steps, scores it, then trains
this project's way and scores every checkpoint as it would ship; labels of classes 41-80 are used to report
MAP@R, leave-one-out, and for nothing else. Scoring is not timed.

`losses` never sees classes 41-80, as a setting that they chose would make their figures too good: two fifths
of the classes 0-40, one choice and then another, are left out of training and scored instead. Without
rotations, which take time.
"""

import argparse
import copy
import dataclasses
import functools
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from benchmarks.contenders import machine, spread
from benchmarks.settings import STEPS, STORE_PX
from benchmarks.training import authors_way
from udml.config import LOSS_SETTINGS, Params, Train, load_params
from udml.data.catalog import open_store, read_catalog
from udml.data.importing.importer import import_data
from udml.data.prepare import prepare
from udml.evaluation.metrics import Embedded, score_queries
from udml.learning.loop import embedding, fit
from udml.learning.loop.run import Run, start_run
from udml.learning.loop.schedule import leg_of, planned_steps
from udml.learning.loop.steps import take_steps
from udml.learning.model.network import Network, start_network
from udml.learning.train import load_training_set
from udml.learning.views.training import fixed_view
from udml.machine import keep_freed_memory

INPUT_PX = 96
LEFT_OUT = ((0, 2), (1, 3))  # of every five training classes, for `losses`


@dataclass(frozen=True)
class Photos:
    """The data set as both ways need it.

    Attributes:
        images: the unpacked data set.
        prepared: what `prepare` left.
        catalog: its catalogue; the column `split` says what is trained on and what is scored.
        params: say what fixed views show, and their side.
    """

    images: Path
    prepared: Path
    catalog: pd.DataFrame
    params: Train

    @property
    def train_files(self) -> list[Path]:
        """Original files of the training classes."""
        return [self.images / source for source in self.catalog["source"][self.catalog["split"] == "train"]]

    @functools.cached_property
    def test_views(self) -> np.ndarray:
        """Fixed views of the test images: uint8 [n, S, S, 3]."""
        store = open_store(self.prepared, self.catalog)
        rows = np.flatnonzero(self.catalog["split"] == "test")
        seen = self.params.input_px, self.params.crop_share, self.params.view_ratio
        return np.stack([fixed_view(store[int(row)], *seen) for row in rows])

    def scored(self, vectors: np.ndarray) -> Embedded:
        """Embeddings of the test images with their labels and groups."""
        test = self.catalog[self.catalog["split"] == "test"]
        labels = test["label"].astype("category").cat.codes.to_numpy(np.int64)
        return Embedded(vectors, labels, test["group"].to_numpy())


def main() -> None:
    """Run one comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("comparison", choices=("steps", "quality", "losses"))
    parser.add_argument("--data", type=Path, required=True, help="the unpacked Grocery Store Dataset")
    parser.add_argument("--work", type=Path, default=Path(".scratch/benchmark-train"))
    parser.add_argument("--stretch", type=int, default=10, help="steps: of a stretch")
    parser.add_argument("--rounds", type=int, default=5, help="steps: stretches of each way")
    parser.add_argument("--steps", type=int, default=STEPS, help="of each training; not for `steps`")
    parser.add_argument("--seed", type=int, default=0, help="of batches, crops, clusters and heads")
    parser.add_argument("--losses", nargs="+", choices=list(LOSS_SETTINGS), default=list(LOSS_SETTINGS))
    options = parser.parse_args()
    print(f"{machine()}\n")
    keep_freed_memory()
    params = load_params()
    settings = dataclasses.replace(
        params.train, input_px=INPUT_PX, light_stops=0.0, cast_stops=0.0, seed=options.seed
    )
    photos = load_photos(options.data.resolve(), options.work, dataclasses.replace(params, train=settings))
    with tempfile.TemporaryDirectory() as scratch:
        if options.comparison == "steps":
            compare_steps(photos, settings, Path(scratch), options.stretch, options.rounds)
        elif options.comparison == "quality":
            compare_quality(photos, dataclasses.replace(settings, steps=options.steps), Path(scratch))
        else:
            train = dataclasses.replace(settings, steps=options.steps, rotation_weight=0.0)
            compare_losses(photos, train, options.losses, Path(scratch))


def load_photos(images: Path, work: Path, params: Params) -> Photos:
    """Import and prepare the data set, unless that has been done."""
    data, prepared = work / "data", work / "prepare"
    if not data.exists():
        import_data(images, "grocery", data)
    if not prepared.exists():
        prepare(data, prepared, dataclasses.replace(params.prepare, store_short_side_px=STORE_PX[INPUT_PX]))
    return Photos(images, prepared, read_catalog(prepared), params.train)


def our_start(photos: Photos, params: Train, scratch: Path) -> Run:
    """Training as the stage `train` starts it."""
    network, backbone = start_network(params)
    data, _ = load_training_set(photos.prepared, photos.catalog, params, scratch)
    return start_run(network, data, params, (backbone.mean, backbone.std), scratch)


def teach(run: Run, shuffled: bool = False) -> None:
    """Let a run that has not begun learn the true labels in place of clusters, or these dealt out anew."""
    labels = run.data.monitor_labels
    if labels is None:
        raise SystemExit("the training images have no labels: there is no truth to teach")
    known, taught = np.unique(labels, return_inverse=True)
    if shuffled:
        taught = np.random.default_rng(0).permutation(taught)
    run.clusters, run.data = len(known), dataclasses.replace(run.data, taught=taught.astype(np.int64))


# --- time per step --------------------------------------------------------------------------------


def compare_steps(photos: Photos, params: Train, scratch: Path, stretch: int, rounds: int) -> None:
    """Stretches of both ways in turns; the first step of a stretch warms up and is not counted."""
    ours, theirs = our_start(photos, params, scratch), authors_way.start(photos.train_files, params)
    ours.state.assignment = (
        np.arange(len(ours.data.images)) % ours.clusters
    )  # which images meet does not matter
    theirs.assignment = np.arange(len(photos.train_files)) % authors_way.CLUSTERS
    seconds: dict[str, list[float]] = {"authors' way": [], "udml": []}
    for turn in range(rounds + 1):
        steps = authors_way.take_steps(theirs, theirs.step + stretch + 1)
        next(steps)
        found = {"authors' way": _seconds_per_step(lambda: [*steps], stretch)}  # noqa: B023
        take_steps(ours, ours.state.step + 1)
        found["udml"] = _seconds_per_step(lambda: take_steps(ours, ours.state.step + stretch), stretch)
        for name, value in found.items():
            seconds[name] += [value] if turn else []
    ratios = [a / b for a, b in zip(*seconds.values(), strict=True)]
    print("| way | seconds a step | times udml |\n|---|---|---|")
    for name, values in seconds.items():
        print(f"| {name} | {spread(values, 2)} | {'1.0' if name == 'udml' else spread(ratios)} |")


def _seconds_per_step(work: Callable[[], object], steps: int) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) / steps


# --- time until as good ---------------------------------------------------------------------------


def compare_quality(photos: Photos, params: Train, scratch: Path) -> None:
    """Train the authors' way to its end, then ours; print every checkpoint, and the ratio of times."""
    _heading()
    theirs = authors_way.start(photos.train_files, params)
    spent = 0.0
    while theirs.step < planned_steps(params, len(photos.train_files), 0):
        began = time.perf_counter()
        authors_way.recluster(theirs)
        for _ in authors_way.take_steps(theirs, theirs.step + params.recluster_every_steps):
            pass
        spent += time.perf_counter() - began
        reached = map_at_r(authors_way.embed(theirs, photos.test_views), photos)
        _row("authors' way", theirs.step, spent, reached)
    ours = our_checkpoints("udml", photos, params, scratch)
    equal = next((seconds for seconds, value in ours if value >= reached), None)
    if equal is None:
        print("\nudml does not get there.")
    else:
        print(f"\nudml is as good after {equal:.0f} s: {spent / equal:.1f} times sooner")


def our_checkpoints(name: str, photos: Photos, params: Train, scratch: Path) -> list[tuple[float, float]]:
    """Train this project's way; seconds and MAP@R in percent of each checkpoint as it would ship."""
    began, spent, found = time.perf_counter(), 0.0, list[tuple[float, float]]()
    run = our_start(photos, params, scratch)
    for _ in rounds(run):
        spent += time.perf_counter() - began
        began = time.perf_counter()
        shipped = as_shipped(run)
        finishing = time.perf_counter() - began
        value = map_at_r(embed(run, shipped, photos.test_views), photos)
        found.append((spent + finishing, value))
        _row(name, run.state.step, *found[-1])
        began = time.perf_counter()
    return found


def rounds(run: Run) -> Iterator[None]:
    """Go through a training; comes back after each round has been judged and clustered."""
    fit.judge_and_cluster(run)
    yield
    while (leg := leg_of(run.state.rounds)) is not None:
        take_steps(run, leg.until)
        fit.judge_and_cluster(run)
        yield


def as_shipped(run: Run) -> Network:
    """The averaged weights with their head finished, as `train` leaves them: one look at an image."""
    shipped = copy.deepcopy(run.average)
    shipped.embedding_head = embedding.shipping_head(
        run, embedding.embed(run, run.data.views, with_features=True)[0]
    )
    return shipped


def embed(run: Run, network: Network, views: np.ndarray) -> np.ndarray:
    """Unit embeddings float32 [n, d] of fixed views uint8 [n, S, S, 3]."""
    with torch.inference_mode():
        parts = np.array_split(views, max(1, len(views) // embedding.EMBED_BATCH))
        return torch.cat([network(run.device.normalise(torch.from_numpy(part))) for part in parts]).numpy()


def map_at_r(vectors: np.ndarray, photos: Photos) -> float:
    """Leave-one-out over the test images, in percent."""
    every = photos.scored(vectors)
    found = score_queries(every, every, np.arange(len(vectors)), [1], False, 2**29)
    return 100 * float(found.values["map_at_r"].mean())


def _heading() -> None:
    print("| way | step | seconds of training | MAP@R, % |\n|---|---|---|---|")


def _row(way: str, *figures: float | int) -> None:
    step, seconds, value = figures
    print(f"| {way} | {step} | {seconds:.0f} | {value:.1f} |", flush=True)


# --- which loss -----------------------------------------------------------------------------------


def compare_losses(photos: Photos, params: Train, losses: list[str], scratch: Path) -> None:
    """Train with each loss on each choice of classes; print every checkpoint, then the last ones."""
    ends: dict[str, list[float]] = {loss: [] for loss in losses}
    for number, left_out in enumerate(LEFT_OUT):
        judged_by = _leave_out(photos, left_out)
        print(f"\nWithout classes {left_out} of every five:\n")
        _heading()
        for loss in losses:
            train = dataclasses.replace(params, loss=loss)
            place = scratch / f"{loss}-{number}"
            place.mkdir()
            ends[loss].append(our_checkpoints(loss, judged_by, train, place)[-1][1])
    print("\n| loss | MAP@R of each choice of classes, % |\n|---|---|")
    for loss, values in ends.items():
        print(f"| {loss} | {', '.join(f'{value:.1f}' for value in values)} |")


def _leave_out(photos: Photos, left_out: tuple[int, ...]) -> Photos:
    """Some of the training classes take the place of the test classes, which are not used at all."""
    catalog = photos.catalog
    trained = catalog["split"] == "train"
    classes = sorted(catalog["label"][trained].unique())
    scored = trained & catalog["label"].isin([c for i, c in enumerate(classes) if i % 5 in left_out])
    split = np.where(scored, "test", np.where(trained, "train", "excluded"))
    return dataclasses.replace(photos, catalog=catalog.assign(split=split))


if __name__ == "__main__":
    main()
