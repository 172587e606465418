"""What a run makes of images now: features, embeddings, and the head as it would ship.

Shapes: n images, S = input_px, c and d lengths of features and embeddings.
"""

import copy

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from udml.config import Train
from udml.learning.loop.feature_bank import OneView
from udml.learning.loop.run import Run
from udml.learning.model.head import finish_head
from udml.learning.views.device import send
from udml.progress import progress

EMBED_BATCH = 256


def is_finished(params: Train, step: int) -> bool:
    """Whether a head of so many steps ships finished: at the start it is whitened already."""
    return params.head_start == "pca" and step > 0


def shipping_head(run: Run, features: np.ndarray) -> nn.Linear:
    """The embedding head as it would ship now.

    It is what is clustered and judged, too: before it is finished a trained head piles variance up in a few
    directions, finds worse than it will, and looks as if training harmed.
    """
    head: nn.Linear = copy.deepcopy(run.average.embedding_head)
    if is_finished(run.params, run.state.step):
        finish_head(head, features, run.params.head_whitening)
    return head


@torch.inference_mode()
def embed(
    run: Run, views: np.ndarray | OneView, description: str = "", with_features: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Pooled features [n, c] (empty unless asked for) and unit embeddings [n, d] of fixed views.

    Processes take turns of `EMBED_BATCH` images and put the parts together again.
    """
    starts = range(0, len(views), EMBED_BATCH)
    rank, size = run.device.accelerator.process_index, run.device.accelerator.num_processes
    parts: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    mine = list(starts)[rank::size]
    for start in progress(mine, description, unit="batch") if description and rank == 0 else mine:
        with run.device.accelerator.autocast():
            features = _features(run, views, start)
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


def _features(run: Run, views: np.ndarray | OneView, start: int) -> torch.Tensor:
    """Pooled features [m, c] of one batch of views."""

    def batch() -> torch.Tensor:
        return send(views[start : start + EMBED_BATCH], run.device.accelerator.device)

    place = next((number for number, fixed in enumerate(run.fixed_views) if fixed is views), None)
    if run.frozen_part is None or place is None:
        return run.features(batch())
    return run.frozen_part.features((place, start), lambda: run.device.normalise(batch())).float()


def averaged_over_views(run: Run, features: np.ndarray) -> np.ndarray:
    """Features of training images averaged over the fixed view, given, and the further ones: [n, c]."""
    total = features.copy()
    further = run.data.further_views
    for number, views in enumerate(further, 1):
        name = f"round {len(run.state.rounds)}: further view {number} of {len(further)}"
        total += embed(run, views, name, with_features=True)[0]
    return total / np.float32(1 + len(further))


@torch.inference_mode()
def embed_features(run: Run, features: np.ndarray, head: nn.Linear) -> np.ndarray:
    """Unit embeddings [n, d] of pooled features [n, c]."""
    parts = torch.from_numpy(features).split(EMBED_BATCH)
    outputs = [head(part.to(run.device.accelerator.device)).float() for part in parts]
    return torch.cat([F.normalize(output, dim=1).cpu() for output in outputs]).numpy()
