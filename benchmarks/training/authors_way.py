"""UDML-SS as its authors' release does it, re-created from a description of that code, for comparison.

What makes it slow is kept: every sample is decoded and augmented four times, though 16 of 80 are shown in
four rotations; the whole trunk is trained, in the standard memory format; the loss is a Python loop over
anchors; features for clustering come from random crops of files decoded again; k-means starts ten times
from nothing. What only spoils its figures is left out, in its favour: rotation logits without a ReLU, no
60-second sleeps, and the learning rate of this project's design, as 1e-5 barely moves in so few steps.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from sklearn.cluster import KMeans
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from udml.config import Train
from udml.learning.loop.batches import draw_batch, members_by_cluster, rotation_positions
from udml.learning.model.backbone import create_backbone
from udml.learning.model.network import ROTATIONS, Network
from udml.machine import usable_cores

CLUSTERS = 100
LEARNING_RATE = 1e-4
_RESIZE = 256 / 227  # of the shorter side, over the input's side
_EMBED_BATCH = 80


@dataclass
class AuthorsRun:
    """The moving parts: what is trained on, with what, and the present pseudo-labels."""

    params: Train
    files: Sequence[Path]
    network: Network
    optimiser: torch.optim.Optimizer
    normalise: transforms.Normalize
    assignment: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    step: int = 0


def start(files: Sequence[Path], params: Train) -> AuthorsRun:
    """A pretrained trunk, random heads and Adam; nothing is clustered yet."""
    torch.manual_seed(params.seed)
    backbone = create_backbone(params.backbone, params.pretrained)
    network = Network(
        backbone.trunk.eval(), backbone.feature_dim, params.embedding_dim, params.rotation_hidden_dim
    )
    optimiser = torch.optim.Adam(network.parameters(), LEARNING_RATE, weight_decay=params.weight_decay)
    mean, std = ([value / 255 for value in values] for values in (backbone.mean, backbone.std))
    return AuthorsRun(params, files, network, optimiser, transforms.Normalize(mean, std))


class _Samples(Dataset):
    """Files, decoded and randomly cropped `views` times each: float32 [views, 3, S, S]."""

    def __init__(self, run: AuthorsRun, views: int) -> None:
        self._files, self._views = run.files, views
        side = run.params.input_px
        self._augment = transforms.Compose(
            [
                transforms.Resize(round(side * _RESIZE)),
                transforms.RandomResizedCrop(side, (run.params.crop_area_min, run.params.crop_area_max)),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                run.normalise,
            ]
        )

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, row: int) -> torch.Tensor:
        views = []
        for _ in range(self._views):
            with Image.open(self._files[row]) as image:
                views.append(self._augment(image.convert("RGB")))
        return torch.stack(views)


def recluster(run: AuthorsRun) -> None:
    """Pooled features first, embeddings later, of random crops; ten cold starts of k-means."""
    loader = DataLoader(_Samples(run, 1), _EMBED_BATCH, num_workers=usable_cores())
    with torch.inference_mode():
        features = [run.network.features(views[:, 0]) for views in loader]
        vectors = torch.cat([f if run.step == 0 else run.network.embed(f) for f in features]).numpy()
    run.assignment = KMeans(CLUSTERS, n_init=10, random_state=run.params.seed).fit_predict(vectors)


def take_steps(run: AuthorsRun, until: int) -> Iterator[int]:
    """Optimiser steps up to `until`; yields the number of each when it is done."""
    params = run.params
    members = members_by_cluster(run.assignment, params.images_per_cluster)
    rows = [
        draw_batch(members, params.clusters_per_batch, params.images_per_cluster, [params.seed, step])
        for step in range(run.step, until)
    ]
    loader = DataLoader(
        _Samples(run, ROTATIONS), batch_sampler=[r.tolist() for r in rows], num_workers=usable_cores()
    )
    for batch, views in zip(rows, loader, strict=True):
        _step(run, views, torch.from_numpy(run.assignment[batch]).long())
        run.step += 1
        yield run.step


def _step(run: AuthorsRun, views: torch.Tensor, labels: torch.Tensor) -> None:
    rotated = rotation_positions(len(views), run.params.rotation_images)
    turned = torch.cat([torch.rot90(views[rotated, turns], turns, (2, 3)) for turns in range(ROTATIONS)])
    turns = torch.arange(ROTATIONS).repeat_interleave(len(rotated))
    metric_loss = multi_similarity(run.network(views[:, 0]), labels, run.params.losses["multi_similarity"])
    logits = run.network.rotation_head(run.network.features(turned))
    loss = metric_loss + run.params.rotation_weight * F.cross_entropy(logits, turns)
    run.optimiser.zero_grad()
    loss.backward()
    run.optimiser.step()


def multi_similarity(
    embeddings: torch.Tensor, labels: torch.Tensor, settings: dict[str, float]
) -> torch.Tensor:
    """Multi-similarity loss with hard-pair mining (Wang et al., CVPR 2019), anchor by anchor."""
    similarity = embeddings @ embeddings.T
    positive_scale, negative_scale = settings["positive_scale"], settings["negative_scale"]
    base, margin = settings["base"], settings["mining_margin"]
    losses = []
    for anchor in range(len(labels)):
        same = labels == labels[anchor]
        negative = similarity[anchor][~same]
        same[anchor] = False
        positive = similarity[anchor][same]
        hard_negative = negative[negative + margin > positive.min()]
        hard_positive = positive[positive - margin < negative.max()]
        if len(hard_negative) == 0 or len(hard_positive) == 0:
            continue
        pull = torch.log1p(torch.exp(-positive_scale * (hard_positive - base)).sum()) / positive_scale
        push = torch.log1p(torch.exp(negative_scale * (hard_negative - base)).sum()) / negative_scale
        losses.append(pull + push)
    return torch.stack(losses).sum() / len(labels) if losses else embeddings.sum() * 0


@torch.inference_mode()
def embed(run: AuthorsRun, views: np.ndarray) -> np.ndarray:
    """Unit embeddings float32 [n, d] of fixed views uint8 [n, S, S, 3]."""
    parts = []
    for start_row in range(0, len(views), _EMBED_BATCH):
        pixels = torch.from_numpy(np.ascontiguousarray(views[start_row : start_row + _EMBED_BATCH]))
        parts.append(run.network(run.normalise(pixels.permute(0, 3, 1, 2).float() / 255)))
    return torch.cat(parts).numpy()
