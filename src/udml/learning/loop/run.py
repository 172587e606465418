"""The moving parts of one training run, and how they start.

Shapes: n training images, h held-out images, b images of a batch, r of them rotated, S = input_px,
d length of embeddings.
"""

import copy
import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn

from udml.config import Train
from udml.errors import UdmlError
from udml.learning.labels.judged import Links
from udml.learning.labels.pseudo_labels import choose_clusters
from udml.learning.loop.batches import rotation_positions
from udml.learning.loop.checkpoint import load_checkpoint
from udml.learning.loop.feature_bank import RANDOM_VIEWS, FeatureBank, OneView, fill_bank, views_of_image
from udml.learning.loop.replay import Replay
from udml.learning.losses import NEVER_WAIT, MinedLoss, create_loss
from udml.learning.model.frozen_part import FrozenPart, frozen_part
from udml.learning.model.network import Network, StepForward
from udml.learning.model.preprocess import Channels
from udml.learning.views.device import ResidentImages, send, upload

Normalise = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class TrainingSet:
    """What training sees.

    Attributes:
        images: n decoded images, uint8 [height, width, 3] each; random crops come from here.
        views: uint8 [n, S, S, 3], their fixed views.
        held_views: uint8 [h, S, S, 3], fixed views of held-out images.
        held_strong_views: uint8 [h, S, S, 3], strong views of the same.
        monitor_labels: int [n] or None. Only `label_nmi` in the log is computed from it.
        links: what people said of pairs of the n images; none unless `train.use_judgements`.
        further_views: uint8 [n, S, S, 3] each, of the n images, by which they are labelled, too.
        taught: int64 [n] or None, classes to learn in place of clusters; only a benchmark sets it.
        bank: features to train the head on. The three views above are then features too, [n or h, c].
    """

    images: Sequence[np.ndarray]
    views: np.ndarray | OneView
    held_views: np.ndarray | OneView
    held_strong_views: np.ndarray | OneView
    monitor_labels: np.ndarray | None = None
    links: Links = field(default_factory=Links)
    further_views: Sequence[np.ndarray] = ()
    taught: np.ndarray | None = None
    bank: FeatureBank | None = None


@dataclass
class Device:
    """Where a run computes.

    Attributes:
        accelerator: of the processes that take part, this one among them.
        normalise: makes the network's input, float [b, 3, S, S], of views, uint8 [b, S, S, 3] on the device.
        resident: the images, where they lie in the memory of a GPU.
        replayed: whether a step is to be recorded on a GPU.
        replay: the recorded step.
    """

    accelerator: Accelerator
    normalise: Normalise
    resident: ResidentImages | None
    replayed: bool
    replay: Replay | None = None


@dataclass
class State:
    """How far a run has come, besides its weights.

    Attributes:
        step: optimiser steps taken.
        assignment: int64 [n], the present pseudo-class of each training image.
        rounds: one record per round.
        best_round: index of the picked round, or -1.
        last_losses: means over the steps of the last round.
    """

    step: int = 0
    assignment: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    rounds: list[dict[str, Any]] = field(default_factory=list)
    best_round: int = -1
    last_losses: dict[str, float] = field(default_factory=dict)


@dataclass
class Run:
    """The moving parts of one training run.

    Attributes:
        forward: the network's forward pass of a step, as its device takes it.
        average: the averaged weights, which are clustered, judged and shipped.
        clusters: pseudo-classes, K. Where they are to be found, the first round does.
        scratch: where checkpoints lie.
        frozen_part: of the averaged weights' trunk, on a CPU.
        began: when the run would have begun by `time.perf_counter`, had it not been killed in between.
    """

    params: Train
    data: TrainingSet
    scratch: Path
    device: Device
    network: Network
    average: Network
    forward: nn.Module
    loss: MinedLoss
    optimiser: torch.optim.Optimizer
    clusters: int
    frozen_part: FrozenPart | None = None
    state: State = field(default_factory=State)
    began: float = field(default_factory=time.perf_counter)

    @property
    def modules(self) -> dict[str, nn.Module]:
        """What a checkpoint must hold."""
        if self.data.bank is not None:  # the trunk is as it was
            heads = {"network": self.network.embedding_head, "average": self.average.embedding_head}
            return {**heads, "loss": self.loss}
        return {"network": self.network, "average": self.average, "loss": self.loss}

    def features(self, views: torch.Tensor) -> torch.Tensor:
        """Of views uint8 [m, S, S, 3], by the averaged weights: float32 [m, c]. Features stay as they are."""
        if self.data.bank is not None:
            return views
        return self.average.features(self.device.normalise(views)).float()

    @property
    def fixed_views(self) -> tuple[np.ndarray | OneView, ...]:
        """What is embedded each round, and is the same each time."""
        data = self.data
        return data.views, data.held_views, data.held_strong_views, *data.further_views


def start_run(
    network: Network, data: TrainingSet, params: Train, mean_std: tuple[Channels, Channels], scratch: Path
) -> Run:
    """Everything in its place, as `scratch` holds it if a run was begun there; see `fit`."""
    device = resolve_device(params.device)
    accelerator = Accelerator(cpu=device == "cpu", mixed_precision="bf16" if device == "cuda" else "no")
    processes = accelerator.num_processes
    batch = params.clusters_per_batch * params.images_per_cluster
    if batch % processes or params.rotation_images % processes:
        raise UdmlError(
            f"a batch of {batch} with {params.rotation_images} rotated images can't be split over "
            f"{processes} processes",
            "choose train.clusters_per_batch and train.rotation_images that they divide",
        )
    if params.tuning == "head":  # what the rotation head learns would not reach the embedding
        params = dataclasses.replace(params, rotation_weight=0.0)
    if params.rotation_weight == 0:
        network.rotation_head.requires_grad_(False)
    network.to(accelerator.device)
    network.to(memory_format=torch.channels_last)
    clusters = params.clusters if isinstance(params.clusters, int) else 0
    clusters = clusters or choose_clusters(len(data.images), params.clusters_per_batch)
    loss = create_loss(params.loss, params.losses[params.loss], clusters, params.embedding_dim)
    loss.to(accelerator.device)
    trainable = [p for p in [*network.parameters(), *loss.parameters()] if p.requires_grad]
    replayed = device == "cuda" and processes == 1 and params.loss in NEVER_WAIT
    optimiser = _optimiser(trainable, params, accelerator.device, replayed)
    if replayed:
        loss.compile()
    mean, std = (torch.tensor(c, device=accelerator.device).view(3, 1, 1) for c in mean_std)

    def normalised(views: torch.Tensor) -> torch.Tensor:
        return (views.permute(0, 3, 1, 2).float() - mean) / std

    normalise: Normalise = normalised
    if params.tuning == "head":
        data, normalise = _with_features(network, data, params, normalise, accelerator, scratch), _as_they_are
    rotated = params.rotation_images // processes if params.rotation_weight else 0
    step_forward = StepForward(
        network, rotation_positions(batch // processes, rotated), data.bank is not None
    )
    forward = _prepare(accelerator, step_forward.to(accelerator.device), replayed)
    average = copy.deepcopy(network).requires_grad_(False)
    kept_there = accelerator.device.type == "cuda" and data.bank is None
    resident = upload(data.images, accelerator.device) if kept_there else None
    place = Device(accelerator, normalise, resident, replayed)
    run = Run(params, data, scratch, place, network, average, forward, loss, optimiser, clusters)
    if accelerator.device.type == "cpu" and data.bank is None:
        run.frozen_part = frozen_part(average.trunk, params)
    restored = load_checkpoint(scratch, run.modules, optimiser)
    if restored is not None:
        clustering, state = restored
        run.state.assignment = clustering["assignment"].numpy()
        run.state.step, run.state.rounds, run.state.best_round = state.step, state.rounds, state.best_round
        run.clusters = state.rounds[0].get("clusters", clusters)  # as many as the first round found
        run.began -= state.rounds[-1].get("seconds", 0.0)
    return run


def _as_they_are(features: torch.Tensor) -> torch.Tensor:
    return features


def _with_features(
    network: Network,
    data: TrainingSet,
    params: Train,
    normalise: Normalise,
    accelerator: Accelerator,
    scratch: Path,
) -> TrainingSet:
    """`data` with the features of all views in place of the views."""

    @torch.inference_mode()
    def features(views: np.ndarray) -> torch.Tensor:
        with accelerator.autocast():
            return network.features(normalise(send(views, accelerator.device))).float().cpu()

    def of_image(row: int) -> np.ndarray:
        return views_of_image(data.images[row], data.views[row], params, row)

    def of_held(row: int) -> np.ndarray:
        return np.stack([data.held_views[row], data.held_strong_views[row]])

    c, held = network.embedding_head.in_features, len(data.held_views)
    bank = fill_bank(
        scratch / "train", (len(data.images), RANDOM_VIEWS + 1, c), of_image, features, accelerator
    )
    kept = fill_bank(scratch / "held", (held, 2, c), of_held, features, accelerator)
    return dataclasses.replace(
        data,
        views=OneView(bank, 0),
        held_views=OneView(kept, 0),
        held_strong_views=OneView(kept, 1),
        further_views=(),
        bank=bank,
    )


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
    alone = accelerator.num_processes == 1
    if accelerator.device.type == "cuda":
        torch._dynamo.config.suppress_errors = True  # where it can't be compiled it is merely slower
        # where the step as a whole is not replayed, its forward and backward pass are
        forward.compile(mode="reduce-overhead" if alone and not replayed else "default")
    # what `prepare` would add for one process, an autocast, is there already
    return forward if alone else accelerator.prepare(forward)


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
