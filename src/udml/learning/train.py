"""The stage `train`: prepared images in, the picked model and the log of every round out.

Labels are read for one purpose, `label_nmi` in the log. Nothing that shapes the weights sees them.
"""

import functools
import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from safetensors.torch import load_file

from udml.config import Train
from udml.data.catalog import SUMMARY_FILE, open_store, read_catalog
from udml.errors import UdmlError
from udml.files import (
    atomic_directory,
    discard_scratch,
    fingerprint,
    read_json,
    scratch_directory,
    write_json,
)
from udml.learning import selection
from udml.learning.labels.judged import links_of
from udml.learning.labels.number import doubtful_strength, found_clearly
from udml.learning.labels.telling import found_on_a_part
from udml.learning.loop.checkpoint import SHIPPED_FILE, WHITENED_FILE
from udml.learning.loop.fit import fit
from udml.learning.loop.run import TrainingSet
from udml.learning.loop.schedule import how_it_ended
from udml.learning.loop.steps import CLEAR_TEMPERATURE
from udml.learning.model.backbone import Backbone
from udml.learning.model.network import ModelSpec, save, start_network
from udml.learning.model.weights import weights_sha256
from udml.learning.views.further import further_view, further_views
from udml.learning.views.strong import strong_views
from udml.learning.views.training import fixed_view, write_views
from udml.machine import keep_freed_memory, usable_cores
from udml.parquet import write_table

ROUNDS_FILE = "rounds.json"
CLUSTERS_FILE = "clusters.parquet"
Said = tuple[str, str, bool]
_LIVE_KEYS = (
    "metric_loss", "rotation_loss", "rotation_accuracy", "score", "score_mrr",
    "score_neighbours", "effective_rank",
    "embedding_std", "mean_cosine", "churn", "clusters", "share_left_out", "largest_share", "empty",
    "singletons", "label_nmi", "images_per_second",
    "planned_end", "ended_by", "more_would_pay", "seconds",
)  # fmt: skip


def train(prepared: Path, out: Path, live: Path, params: Train, said: Sequence[Said] = ()) -> None:
    """Learn an embedding from the `train` split of `prepared`.

    Args:
        prepared: output of the stage `prepare`.
        out: receives model.safetensors, model.json, whitened.safetensors, rounds.json, clusters.parquet.
        live: receives DVCLive metrics and plots.
        params: the `train` section.
        said: of pairs of files, sha256 of both, whether people called them the same. Of training images only
            it shapes the pseudo-labels.

    Raises:
        UdmlError: if there are too few images, or no round was healthy.
    """
    keep_freed_memory()
    if "OMP_NUM_THREADS" not in os.environ:  # of a container's share of the cores PyTorch knows nothing
        torch.set_num_threads(usable_cores())
    catalog = read_catalog(prepared)
    summary = read_json(prepared / SUMMARY_FILE)
    network, backbone = start_network(params)  # first: it refuses what can't be trained
    scratch = scratch_directory("train", _work_key(summary, catalog, params, said))
    data, rows = load_training_set(prepared, catalog, params, scratch)
    if said:
        data = replace(data, links=links_of(said, catalog["sha256"].iloc[rows].tolist()))
        print(
            f"{len(data.links.must)} must-links and {len(data.links.cannot)} cannot-links of training images"
        )
    log = _live_log(live)
    rounds = fit(network, data, params, (backbone.mean, backbone.std), scratch, log)
    if not _is_main_process():
        return
    spec = _spec(backbone, params, summary, rounds)
    _write(scratch, out, rounds, catalog["image_id"].to_numpy()[rows], spec)
    discard_scratch(scratch)
    _say_how_it_went(rounds)


def load_training_set(
    prepared: Path, catalog: pd.DataFrame, params: Train, scratch: Path
) -> tuple[TrainingSet, np.ndarray]:
    """Training images with some held out, and the catalogue rows of those that are trained on."""
    rows = np.flatnonzero(catalog["split"] == "train")
    groups = catalog["group"].to_numpy()[rows]
    held = selection.hold_out(groups, params.holdout_share, params.holdout_max_images, params.seed)
    kept, held_rows = rows[~held], rows[held]
    if len(kept) < params.clusters_per_batch * 2 or len(held_rows) < 2:
        raise UdmlError(
            f"only {len(kept)} images to train on and {len(held_rows)} held out",
            "import more images, or raise train.holdout_share / lower train.clusters_per_batch",
        )
    store = open_store(prepared, catalog)
    images = _Rows(store, kept)
    strong = strong_views([store[row] for row in held_rows], params.seed)

    def fixed(picture: np.ndarray) -> np.ndarray:
        return fixed_view(picture, params.input_px, params.crop_share, params.view_ratio)

    def every(name: str, view: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        return write_views(scratch / f"{name}.u8", images, params.input_px, view)

    # k-means goes by one view, as in the paper
    further = further_views(len(images)) if params.labels == "graph" else ()
    labels = catalog["label"].iloc[kept]
    return TrainingSet(
        images,
        every("fixed-views", fixed),
        np.stack([fixed(store[row]) for row in held_rows]),
        np.stack([fixed(picture) for picture in strong]),
        None if labels.isna().any() else labels.astype("category").cat.codes.to_numpy(),
        further_views=[
            every(f"further-{number}", functools.partial(further_view, way=way, input_px=params.input_px))
            for number, way in enumerate(further, 1)
        ],
    ), kept


class _Rows(Sequence[np.ndarray]):
    """Some rows of a store, as a sequence."""

    def __init__(self, store: Any, rows: np.ndarray) -> None:
        self.store, self.rows = store, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, position: Any) -> Any:
        return self.store[self.rows[position]]


def _work_key(
    summary: dict[str, Any], catalog: pd.DataFrame, params: Train, said: Sequence[Said] = ()
) -> str:
    """Changes with anything that a half-finished run depends on."""
    unlabelled = catalog[["image_id", "sha256", "split", "group"]]
    content = hashlib.sha256(pd.util.hash_pandas_object(unlabelled, index=False).to_numpy().tobytes())
    return fingerprint(
        "train-9", asdict(params), weights_sha256(params.weights), summary["store_short_side_px"],
        content.hexdigest(), torch.__version__, *([list(said)] if said else []),
    )  # fmt: skip


def _spec(
    backbone: Backbone, params: Train, summary: dict[str, Any], rounds: list[dict[str, Any]]
) -> ModelSpec:
    picked_step = next(record["step"] for record in rounds if record["picked"])
    rotation = 0.0 if params.tuning == "head" else params.rotation_weight
    method = f"UDML-SS, {params.loss}, rotation {rotation:g}, tuning {params.tuning}"
    licence = (params.weights_licence or "not stated") if params.weights else backbone.weights_licence
    steps = f"{picked_step} of {rounds[-1]['step']} steps"
    protocol = f"{method}, {params.input_px} px, {steps}, seed {params.seed}; {summary['protocol']}"
    return ModelSpec(
        params.backbone,
        params.pretrained,
        params.embedding_dim,
        params.rotation_hidden_dim,
        params.input_px,
        params.crop_share,
        backbone.mean,
        backbone.std,
        licence,
        summary["store_short_side_px"],
        summary["data_version"],
        protocol,
        params.weights,
        weights_sha256(params.weights),
        picked_step,
        params.view_ratio,
    )


def _write(
    scratch: Path, out: Path, rounds: list[dict[str, Any]], image_ids: np.ndarray, spec: ModelSpec
) -> None:
    """Put the picked weights, their clusters and the log into `out`, all at once."""
    best = load_file(scratch / SHIPPED_FILE)
    weights = {name.removeprefix("network/"): t for name, t in best.items() if name.startswith("network/")}
    clusters = {
        "image_id": image_ids,
        "cluster": best["assignment"].numpy(),
        "similarity": best["similarity"].numpy(),
    }
    with atomic_directory(out) as unfinished:
        save(unfinished, weights, spec)
        shutil.copyfile(scratch / WHITENED_FILE, unfinished / WHITENED_FILE)
        write_json(unfinished / ROUNDS_FILE, rounds)
        write_table(unfinished / CLUSTERS_FILE, pa.table(clusters))


def _live_log(directory: Path) -> Any:
    """A callback that writes each round to DVCLive; does nothing where DVCLive is not installed."""
    try:
        from dvclive.live import Live
    except ImportError:
        return lambda record: None
    if not _is_main_process():
        return lambda record: None
    live = _open_live(Live, str(directory))

    def log(record: dict[str, Any]) -> None:
        live.step = record["step"]
        for key in _LIVE_KEYS:
            if record.get(key) is not None:
                live.log_metric(key, record[key], plot=not isinstance(record[key], str))
        live.make_summary()

    return log


def _open_live(live: Any, directory: str) -> Any:
    """DVCLive's log. It asks git for the last commit, and ends where there is none: then it does without."""
    from scmrepo.exceptions import SCMError

    options = {"save_dvc_exp": False, "dvcyaml": None, "report": None}
    try:
        return live(directory, **options)
    except SCMError:
        return type("LiveWithoutGit", (live,), {"_init_dvc": lambda self: None})(directory, **options)


def _is_main_process() -> bool:
    """Whether this is the process that writes; `torchrun` numbers its processes in RANK."""
    return os.environ.get("RANK", "0") == "0"


def _say_how_it_went(rounds: list[dict[str, Any]]) -> None:
    first, last = rounds[0], rounds[-1]
    picked = next(record for record in rounds if record["picked"])
    print(how_it_ended(rounds))
    print(
        f"picked the model of step {picked['step']}: {picked['score']:.1%} of the held-out images are found "
        f"again from a strong view ({first['score']:.1%} before training)"
    )
    if picked["step"] == 0:
        print("no trained checkpoint beat the whitened backbone, so that is what ships")
    if on_a_part := found_on_a_part(first):
        print(on_a_part)
    if doubt := _doubt(first):
        print(doubt)
    if found_clearly(first):
        print(
            f"halves of the images agree best on clusters of {first['found_cluster_size']}; these are "
            f"taken for things, and nt_xent, if it is the loss, had {CLEAR_TEMPERATURE:g} of its temperature"
        )
    accuracy = last.get("rotation_accuracy") or 0.5  # without rotations nothing is said
    if accuracy < 0.3 or accuracy > 0.99:
        print(
            f"rotation accuracy is {accuracy:.0%}: rotation prediction teaches nothing on these images; "
            "consider train.rotation_weight=0"
        )


def _doubt(first: dict[str, Any]) -> str:
    """What speaks against the pseudo-classes, if anything does, from the first round's record."""
    strength = doubtful_strength(first)
    if strength is None:
        return ""
    return (
        f"two halves of the images agree on only {strength:.0%} of the pairs in a cluster, so pseudo-classes "
        "are doubtful, and the learning rate was half of train.learning_rate: see in the report whether "
        "training beats the whitened backbone, or ask people with `udml judge`"
    )
