"""The training loop: cluster, judge, save, train; again until the budget is spent.

One round is: embed every training image by its fixed view, cluster the embeddings into
pseudo-classes, measure how healthy and how good they are, write a checkpoint, take
`recluster_every_steps` optimiser steps. arXiv 1911.07072, section 3, with the release's faults left
out (fixed views instead of random crops, no label ever looked at).

Shapes: n training images, h held-out images, b images of a batch, S = input_px, c and d lengths of
features and embeddings.
"""

import copy
import functools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from safetensors.torch import load_file
from torch import nn

from udml.config import Train
from udml.errors import UdmlError
from udml.learning import selection
from udml.learning.batches import draw_batch, members_by_cluster, rotation_positions
from udml.learning.checkpoint import (
    BEST_FILE,
    SHIPPED_FILE,
    Progress,
    load_checkpoint,
    save_checkpoint,
    write_tensors,
)
from udml.learning.device_views import ResidentImages, resident_views, send, upload
from udml.learning.head import finish_head, start_head
from udml.learning.labelfree import augmentation_retrieval, effective_rank
from udml.learning.losses import NEVER_WAIT, MinedLoss, create_loss, set_proxies
from udml.learning.network import ROTATIONS, Network
from udml.learning.pseudo_labels import (
    RANK_SAMPLE,
    Clustering,
    choose_clusters,
    churn,
    cluster,
    cluster_health,
    nmi,
    unit_means,
)
from udml.learning.replay import Replay
from udml.learning.views import Variation, draw_all, prefetch, random_views
from udml.progress import progress

EMBED_BATCH = 256
_SHOW_EVERY_SECONDS = 1.0
Channels = tuple[float, float, float]


@dataclass(frozen=True)
class TrainingSet:
    """What training sees.

    Attributes:
        images: n decoded images, uint8 [height, width, 3] each; random crops come from here.
        views: uint8 [n, S, S, 3], their fixed views.
        held_views: uint8 [h, S, S, 3], fixed views of held-out images.
        held_strong_views: uint8 [h, S, S, 3], strong views of the same.
        monitor_labels: int [n] or None. Only `label_nmi` in the log is computed from it.
    """

    images: Sequence[np.ndarray]
    views: np.ndarray
    held_views: np.ndarray
    held_strong_views: np.ndarray
    monitor_labels: np.ndarray | None = None


class StepForward(nn.Module):
    """One step's forward pass in one call, which is what distributed training needs to wrap."""

    rotated: torch.Tensor

    def __init__(self, network: Network, rotated: np.ndarray) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("rotated", torch.from_numpy(rotated), persistent=False)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Preprocessed images [b, 3, S, S] -> unit embeddings [b, d], rotation logits [4 r, 4].

        The upright view of a rotated image is the batch's own: r images cost 3 r more, not 4 r.
        Without rotated images the logits are empty.
        """
        if len(self.rotated) == 0:
            return self.network(x), x.new_empty(0, ROTATIONS)
        turned = [torch.rot90(x[self.rotated], turns, (2, 3)) for turns in range(1, ROTATIONS)]
        features = self.network.features(torch.cat([x, *turned]))
        upright = features[self.rotated]
        logits = self.network.rotation_head(torch.cat([upright, features[len(x) :]]))
        return self.network.embed(features[: len(x)]), logits


@dataclass
class Run:
    """The moving parts of one training run.

    `resident` holds the images where they lie in the memory of a GPU, `replay` the step where it is recorded.
    """

    params: Train
    data: TrainingSet
    normalise: Callable[[np.ndarray | torch.Tensor], torch.Tensor]
    accelerator: Accelerator
    network: Network
    average: Network
    forward: nn.Module
    loss: MinedLoss
    optimiser: torch.optim.Optimizer
    clusters: int
    scratch: Path
    resident: ResidentImages | None
    replay: Replay | None = None
    step: int = 0
    assignment: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    rounds: list[dict[str, Any]] = field(default_factory=list)
    best_round: int = -1
    last_losses: dict[str, float] = field(default_factory=dict)

    @property
    def modules(self) -> dict[str, nn.Module]:
        """What a checkpoint must hold."""
        return {"network": self.network, "average": self.average, "loss": self.loss}


def fit(
    network: Network,
    data: TrainingSet,
    params: Train,
    mean_std: tuple[Channels, Channels],
    scratch: Path,
    on_round: Callable[[dict[str, Any]], None] = lambda record: None,
) -> list[dict[str, Any]]:
    """Train `network`; leaves the weights to ship in `scratch`/shipped.safetensors.

    A checkpoint in `scratch` is resumed. On the CPU the outcome is bit-identical whether or not the
    run was killed in between.

    Args:
        network: pretrained trunk, fresh heads.
        data: see `TrainingSet`.
        params: the `train` section.
        mean_std: of the backbone, on the 0..255 scale.
        scratch: a directory that outlives a kill.
        on_round: called with each round's record, restored ones included.

    Returns:
        One record per round; `picked` marks the one that ships. Its `final_score` and
        `final_score_mrr` are those of the weights as they ship, with the head finished.

    Raises:
        UdmlError: if no round was healthy, or the data are too few for a batch.
    """
    run = _start(network, data, params, mean_std, scratch)
    for record in run.rounds:
        on_round(record)
    while True:
        resumed = bool(run.rounds) and run.rounds[-1]["step"] == run.step
        if not resumed:
            _judge_and_cluster(run)
            on_round(run.rounds[-1])
        if run.step >= params.steps or not run.rounds[-1]["healthy"]:
            break
        _take_steps(run, min(params.steps, run.step + params.recluster_every_steps))
    if run.best_round < 0:
        raise UdmlError(
            f"no checkpoint was healthy: {run.rounds[-1]['verdict']}", "lower train.learning_rate"
        )
    _finish(run)
    for index, record in enumerate(run.rounds):
        record["picked"] = index == run.best_round
    return run.rounds


def resolve_device(name: str) -> str:
    """`auto` becomes cuda, mps or cpu, in that order of preference.

    Raises:
        UdmlError: if a named device is not there.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return next(device for device, there in available.items() if there)
    if not available[name]:
        raise UdmlError(f"train.device is {name}, and this machine has none", "set it to auto or cpu")
    return name


def _start(
    network: Network, data: TrainingSet, params: Train, mean_std: tuple[Channels, Channels], scratch: Path
) -> Run:
    device = resolve_device(params.device)
    accelerator = Accelerator(cpu=device == "cpu", mixed_precision="bf16" if device == "cuda" else "no")
    batch = params.clusters_per_batch * params.images_per_cluster
    if batch % accelerator.num_processes or params.rotation_images % accelerator.num_processes:
        raise UdmlError(
            f"a batch of {batch} with {params.rotation_images} rotated images can't be split over "
            f"{accelerator.num_processes} processes",
            "choose train.clusters_per_batch and train.rotation_images that they divide",
        )
    if params.rotation_weight == 0:
        network.rotation_head.requires_grad_(False)
    network.to(accelerator.device)
    network.to(memory_format=torch.channels_last)
    clusters = params.clusters if isinstance(params.clusters, int) else 0
    clusters = clusters or choose_clusters(len(data.images), params.clusters_per_batch)
    loss = create_loss(params.loss, params.losses[params.loss], clusters, params.embedding_dim)
    loss.to(accelerator.device)
    trainable = [p for p in [*network.parameters(), *loss.parameters()] if p.requires_grad]
    share = accelerator.num_processes
    replayed = device == "cuda" and share == 1 and params.loss in NEVER_WAIT
    optimiser = _optimiser(trainable, params, accelerator.device, replayed)
    if replayed:
        loss.compile()
    rotated = params.rotation_images // share if params.rotation_weight else 0
    step_forward = StepForward(network, rotation_positions(batch // share, rotated)).to(accelerator.device)
    forward = _prepare(accelerator, step_forward, replayed)
    mean, std = (torch.tensor(c, device=accelerator.device).view(3, 1, 1) for c in mean_std)

    def normalise(views: np.ndarray | torch.Tensor) -> torch.Tensor:
        own = views if isinstance(views, torch.Tensor) else torch.from_numpy(np.ascontiguousarray(views))
        pixels = own.to(accelerator.device, non_blocking=True)
        return (pixels.permute(0, 3, 1, 2).float() - mean) / std

    average = copy.deepcopy(network).requires_grad_(False)
    resident = upload(data.images, accelerator.device) if accelerator.device.type == "cuda" else None
    run = Run(
        params, data, normalise, accelerator, network, average, forward, loss, optimiser, clusters, scratch,
        resident,
    )  # fmt: skip
    run.replay = Replay(functools.partial(_step, run)) if replayed else None
    restored = load_checkpoint(scratch, run.modules, optimiser)
    if restored is not None:
        clustering, state = restored
        run.assignment = clustering["assignment"].numpy()
        run.step, run.rounds, run.best_round = state.step, state.rounds, state.best_round
    return run


def _optimiser(
    trainable: list[nn.Parameter], params: Train, device: torch.device, replayed: bool
) -> torch.optim.Optimizer:
    """Adam; a recorded step needs its learning rate where it can read another one each time."""
    rate = torch.tensor(params.learning_rate, device=device) if replayed else params.learning_rate
    return torch.optim.Adam(
        trainable, rate, weight_decay=params.weight_decay, fused=device.type != "mps", capturable=replayed
    )


def _prepare(accelerator: Accelerator, forward: StepForward, replayed: bool) -> nn.Module:
    """The forward pass ready for its device: compiled on a GPU, and wrapped for several processes."""
    if accelerator.device.type == "cuda":
        torch._dynamo.config.suppress_errors = True  # where it can't be compiled it is merely slower
        # where the step as a whole is not replayed, its forward and backward pass are
        alone = accelerator.num_processes == 1
        forward.compile(mode="reduce-overhead" if alone and not replayed else "default")
    # what `prepare` would add for one process, an autocast, is there already
    return accelerator.prepare(forward) if accelerator.num_processes > 1 else forward


# --- one round ------------------------------------------------------------------------------------


def _judge_and_cluster(run: Run) -> None:
    """Embed, cluster, measure, pick, save: everything of a round that is not an optimiser step."""
    params, first = run.params, not run.rounds
    features, embeddings = _embed(run, run.data.views, f"round {len(run.rounds)}: embed", first)
    if first and params.head_start == "pca":
        start_head(run.network.embedding_head, features, params.head_whitening)
        run.average.load_state_dict(run.network.state_dict())
        embeddings = _embed_features(run, features)
    frozen_rank = (
        effective_rank(unit_rows(features[:RANK_SAMPLE])) if first else run.rounds[0]["frozen_effective_rank"]
    )
    record = {
        "round": len(run.rounds),
        "step": run.step,
        "frozen_effective_rank": frozen_rank,
        **run.last_losses,
    }
    losses_finite = all(np.isfinite(value) for value in run.last_losses.values())
    if not (losses_finite and np.isfinite(embeddings).all()):
        reason = "the loss or the embeddings are not finite numbers"
        finite_losses = {k: v if np.isfinite(v) else None for k, v in run.last_losses.items()}
        run.rounds.append(record | finite_losses | {"healthy": False, "verdict": reason})
        return
    # with a random head the trunk's own features are the better start, as in the paper
    vectors = unit_rows(features) if first and params.head_start == "random" else embeddings
    # where each cluster is now; the last centroids are where it was before the network moved
    start = None if first else unit_means(embeddings, run.assignment, run.clusters)
    clustering = cluster(
        vectors, run.clusters, params.kmeans_iterations, params.max_points_per_cluster, params.seed, start
    )
    means = clustering.centroids
    if vectors is not embeddings:
        means = unit_means(embeddings, clustering.assignment, run.clusters)
    set_proxies(run.loss, torch.from_numpy(means))
    record |= {
        **cluster_health(clustering, embeddings, params.seed),
        "churn": None if first else churn(run.assignment, clustering.assignment),
        "label_nmi": _label_nmi(run.data.monitor_labels, clustering.assignment),
        **_scores(run, embeddings),
    }
    verdict = selection.judge(
        record["effective_rank"], frozen_rank, 0.0 if first else params.min_effective_rank_share
    )
    run.rounds.append(record | {"healthy": verdict == "", "verdict": verdict})
    run.assignment = clustering.assignment
    _save(run, clustering)


def _scores(run: Run, embeddings: np.ndarray) -> dict[str, float]:
    """The label-free score: held-out images found by their strong views among all images."""
    held = _embed(run, run.data.held_views)[1]
    strong = _embed(run, run.data.held_strong_views)[1]
    gallery = np.concatenate([held, embeddings])
    found = augmentation_retrieval(strong, gallery, np.arange(len(held)))
    return {"score": found["r1"], "score_mrr": found["mrr"], "score_mrr_error": found["mrr_error"]}


def _label_nmi(labels: np.ndarray | None, assignment: np.ndarray) -> float | None:
    return None if labels is None else nmi(labels, assignment)


def _save(run: Run, clustering: Clustering) -> None:
    """Keep the weights if they are to be picked so far, then the checkpoint that refers to them.

    Every process comes to the same decision; one of them writes.
    """
    record = run.rounds[-1]
    is_best = record["healthy"] and selection.picks_latest(
        [(r["score_mrr"], r["score_mrr_error"]) for r in run.rounds if r["healthy"]]
    )
    if is_best:
        run.best_round = record["round"]
    if run.accelerator.is_main_process:
        assignment = torch.from_numpy(clustering.assignment)
        if is_best:
            weights = {f"network/{name}": value for name, value in run.average.state_dict().items()}
            clusters = {"assignment": assignment, "similarity": torch.from_numpy(clustering.similarity)}
            write_tensors(run.scratch / BEST_FILE, weights | clusters)
        state = Progress(run.step, run.rounds, run.best_round)
        save_checkpoint(run.scratch, run.modules, run.optimiser, {"assignment": assignment}, state)
    run.accelerator.wait_for_everyone()


def _finish(run: Run) -> None:
    """Whiten the picked model's head and write its weights again, ready to ship."""
    best = load_file(run.scratch / BEST_FILE)
    run.average.load_state_dict(
        {name.removeprefix("network/"): value for name, value in best.items() if name.startswith("network/")}
    )
    if run.params.head_start == "pca":
        features = _embed(run, run.data.views, "finish: embed", True)[0]
        finish_head(run.average.embedding_head, features, run.params.head_whitening)
        found = _scores(run, _embed_features(run, features))
        run.rounds[run.best_round] |= {f"final_{name}": value for name, value in found.items()}
    if run.accelerator.is_main_process:
        shipped = {f"network/{name}": value for name, value in run.average.state_dict().items()}
        write_tensors(run.scratch / SHIPPED_FILE, best | shipped)
    run.accelerator.wait_for_everyone()


@torch.inference_mode()
def _embed(
    run: Run, views: np.ndarray, description: str = "", with_features: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Pooled features [n, c] (empty unless asked for) and unit embeddings [n, d] of fixed views.

    Processes take turns of `EMBED_BATCH` images and put the parts together again.
    """
    starts = range(0, len(views), EMBED_BATCH)
    rank, size = run.accelerator.process_index, run.accelerator.num_processes
    parts: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    mine = list(starts)[rank::size]
    for start in progress(mine, description, unit="batch") if description and rank == 0 else mine:
        with run.accelerator.autocast():
            features = run.average.features(run.normalise(views[start : start + EMBED_BATCH])).float()
            embeddings = run.average.embed(features)
        kept = features if with_features else features[:, :0]
        parts[start] = (kept.cpu().numpy(), embeddings.cpu().numpy())
    if size > 1:
        from accelerate.utils import gather_object

        parts = dict(gather_object(list(parts.items())))
    ordered = [parts[start] for start in starts]
    if not ordered:
        empty = np.empty((0, run.params.embedding_dim), np.float32)
        return empty, empty
    return np.concatenate([p[0] for p in ordered]), np.concatenate([p[1] for p in ordered])


@torch.inference_mode()
def _embed_features(run: Run, features: np.ndarray) -> np.ndarray:
    """Unit embeddings [n, d] of pooled features [n, c]."""
    parts = torch.from_numpy(features).split(EMBED_BATCH)
    return torch.cat([run.average.embed(part.to(run.accelerator.device)).cpu() for part in parts]).numpy()


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """Rows of [n, c] scaled to length 1."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


# --- optimiser steps ------------------------------------------------------------------------------


def _take_steps(run: Run, until: int) -> None:
    """Optimiser steps `run.step` .. `until` - 1 on the round's clusters."""
    params = run.params
    members = members_by_cluster(run.assignment, params.min_points_per_cluster)
    steps = range(run.step, until)
    batch = params.clusters_per_batch * params.images_per_cluster
    began, outcomes = time.perf_counter(), []
    shown = began
    make = lambda step: _make_batch(run, members, step)  # noqa: E731
    bar = progress(prefetch(make, steps), f"train to {until}/{params.steps}", len(steps), "step")
    bar.disable = not run.accelerator.is_main_process
    take = run.replay or functools.partial(_step, run)
    for step, (views, labels) in zip(steps, bar, strict=True):
        _set_learning_rate(run, step)
        outcomes.append(take(views, labels))
        if time.perf_counter() - shown > _SHOW_EVERY_SECONDS:  # to look makes the CPU wait for the GPU
            shown = time.perf_counter()
            speed = batch * (step - run.step + 1) / (shown - began)
            losses = f"metric {outcomes[-1][0]:.3f} rotation {outcomes[-1][1]:.3f}"
            bar.set_postfix_str(f"{losses} {speed:.0f} images/s", refresh=False)
    run.step = until
    mean = torch.stack(outcomes).cpu().double().mean(dim=0)
    run.last_losses = {
        "metric_loss": float(mean[0]),
        "rotation_loss": float(mean[1]),
        "rotation_accuracy": float(mean[2]),
        "images_per_second": len(steps) * batch / (time.perf_counter() - began),
    }


def _make_batch(run: Run, members: dict[int, np.ndarray], step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A step's views that fall to this process, uint8 [b / processes, S, S, 3], and all b pseudo-labels.

    Both are on the device.
    """
    params = run.params
    rows = draw_batch(members, params.clusters_per_batch, params.images_per_cluster, [params.seed, step])
    share = len(rows) // run.accelerator.num_processes
    first = share * run.accelerator.process_index
    mine = rows[first : first + share]
    variation = Variation(
        (params.crop_area_min, params.crop_area_max),
        params.turn_degrees,
        params.light_stops,
        params.cast_stops,
    )
    seed = [params.seed, step]
    device = run.accelerator.device
    labels = send(run.assignment[rows], device)
    if run.resident is None:
        images = [run.data.images[int(row)] for row in mine]
        return send(random_views(images, params.input_px, variation, seed, first), device), labels
    drawn = draw_all(run.resident.size[mine].tolist(), variation, seed, first)
    return resident_views(run.resident, mine, drawn, params.input_px), labels


def _set_learning_rate(run: Run, step: int) -> None:
    rate = learning_rate(run.params, step)
    for group in run.optimiser.param_groups:
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def learning_rate(params: Train, step: int) -> float:
    """The learning rate of a step: constant, or falling to 0 along half a cosine."""
    if params.learning_rate_schedule == "constant":
        return params.learning_rate
    return params.learning_rate * 0.5 * (1 + math.cos(math.pi * step / params.steps))


@torch.no_grad()
def _update_average(run: Run) -> None:
    """Let the averaged weights follow the trained ones.

    The average is what is clustered, judged and shipped: pseudo-labels then move less from round to
    round, and a checkpoint no longer depends on its last few batches.
    """
    pairs = [
        (mean, trained)
        for mean, trained in zip(run.average.parameters(), run.network.parameters(), strict=True)
        if trained.requires_grad
    ]
    means, trained = [list(side) for side in zip(*pairs, strict=True)]
    torch._foreach_lerp_(means, trained, 1 - run.params.average_decay)


def _step(run: Run, views: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """One optimiser step; returns metric loss, rotation loss and rotation accuracy, on the device.

    Nothing in it waits for a GPU, but for some of the losses: while one step runs, the next is asked for.
    """
    weight = run.params.rotation_weight
    run.optimiser.zero_grad(set_to_none=True)  # before a replayed forward pass, which reuses their memory
    with run.accelerator.autocast():
        embeddings, logits = run.forward(run.normalise(views))
    metric_loss = run.loss(_gather(run, embeddings.float()), labels)
    rotation_loss, accuracy = metric_loss.new_zeros(()), metric_loss.new_zeros(())
    if weight:
        turns = torch.arange(ROTATIONS, device=logits.device).repeat_interleave(len(logits) // ROTATIONS)
        rotation_loss = F.cross_entropy(logits.float(), turns)
        accuracy = (logits.argmax(1) == turns).float().mean()
    run.accelerator.backward(metric_loss + weight * rotation_loss)
    run.optimiser.step()
    _update_average(run)
    return torch.stack([metric_loss, rotation_loss, accuracy]).detach()


def _gather(run: Run, embeddings: torch.Tensor) -> torch.Tensor:
    """All processes' embeddings in order, with gradients; the loss then sees the whole batch."""
    if run.accelerator.num_processes == 1:
        return embeddings
    from torch.distributed.nn.functional import all_gather

    return torch.cat(all_gather(embeddings))
