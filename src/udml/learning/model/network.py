"""The network: a trunk, an embedding head and a rotation head (arXiv 1911.07072, section 3).

Shapes: n images, S = input_px, c = feature_dim of the trunk, d = embedding_dim.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn

from udml.config import Train
from udml.errors import UdmlError
from udml.files import atomic_path, write_json
from udml.learning.model.backbone import Backbone, create_backbone
from udml.learning.model.frozen_norm import fold_every_norm, fold_frozen_norms, is_folded
from udml.learning.model.tuning import tune

WEIGHTS_FILE = "model.safetensors"
SPEC_FILE = "model.json"
ROTATIONS = 4


@dataclass(frozen=True)
class ModelSpec:
    """Everything but the weights: enough to rebuild the network and its preprocessing.

    Attributes:
        mean, std: per channel on the 0..255 scale.
        store_short_side_px, data_version: of the prepared data it was trained on.
        protocol: how it was trained, in one line.
        weights, weights_sha256: the file that the trunk began with, where one was named.
        picked_step: optimiser steps behind the weights, 0 for the whitened backbone; -1 of an older udml.
    """

    backbone: str
    pretrained: bool
    embedding_dim: int
    rotation_hidden_dim: int
    input_px: int
    crop_share: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    weights_licence: str
    store_short_side_px: int
    data_version: str
    protocol: str
    weights: str | None = None
    weights_sha256: str = ""
    picked_step: int = -1
    view_ratio: float = 1.0


class Network(nn.Module):
    """Trunk + two heads.

    The trunk stays in eval mode: batch-norm statistics are frozen and there is no dropout, so a
    training step draws no random number and an embedding depends on its own image only.
    """

    def __init__(
        self, trunk: nn.Module, feature_dim: int, embedding_dim: int, rotation_hidden_dim: int
    ) -> None:
        super().__init__()
        self.trunk = trunk
        self.embedding_head = nn.Linear(feature_dim, embedding_dim)
        self.rotation_head = nn.Sequential(
            nn.Linear(feature_dim, rotation_hidden_dim), nn.ReLU(), nn.Linear(rotation_hidden_dim, ROTATIONS)
        )

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Pooled trunk features [n, c] of preprocessed images [n, 3, S, S]."""
        return self.trunk(x)

    def embed(self, features: torch.Tensor) -> torch.Tensor:
        """Unit embeddings [n, d] of pooled features [n, c]."""
        return F.normalize(self.embedding_head(features).float(), dim=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Unit embeddings float32 [n, d] of preprocessed images float [n, 3, S, S]."""
        return self.embed(self.features(x))


class StepForward(nn.Module):
    """One step's forward pass in one call, which is what distributed training needs to wrap."""

    rotated: torch.Tensor

    def __init__(self, network: Network, rotated: np.ndarray, of_features: bool = False) -> None:
        super().__init__()
        self.network, self.of_features = network, of_features
        self.register_buffer("rotated", torch.from_numpy(rotated), persistent=False)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Preprocessed images [b, 3, S, S] -> unit embeddings [b, d], rotation logits [4 r, 4].

        The upright view of a rotated image is the batch's own: r images cost 3 r more, not 4 r.
        Without rotated images the logits are empty. `of_features`: features [b, c] in place of images.
        """
        if self.of_features:
            return self.network.embed(x), x.new_empty(0, ROTATIONS)
        if len(self.rotated) == 0:
            return self.network(x), x.new_empty(0, ROTATIONS)
        turned = [torch.rot90(x[self.rotated], turns, (2, 3)) for turns in range(1, ROTATIONS)]
        features = self.network.features(torch.cat([x, *turned]))
        upright = features[self.rotated]
        logits = self.network.rotation_head(torch.cat([upright, features[len(x) :]]))
        return self.network.embed(features[: len(x)]), logits


def start_network(params: Train) -> tuple[Network, Backbone]:
    """The network that training begins with, the same for the same seed, and the backbone it is made of."""
    torch.manual_seed(params.seed)
    backbone = create_backbone(
        params.backbone, params.pretrained, params.input_px, Path(params.weights) if params.weights else None
    )
    fold_frozen_norms(backbone.trunk, params.input_px)
    network = with_heads(backbone, params)
    tune(network.trunk, params)
    return network, backbone


def with_heads(backbone: Backbone, sizes: ModelSpec | Train) -> Network:
    """A backbone under random heads; seed torch before."""
    return Network(backbone.trunk, backbone.feature_dim, sizes.embedding_dim, sizes.rotation_hidden_dim)


def save(directory: Path, weights: dict[str, torch.Tensor], spec: ModelSpec) -> None:
    """Write weights (safetensors) and spec (JSON), each atomically."""
    directory.mkdir(parents=True, exist_ok=True)
    with atomic_path(directory / WEIGHTS_FILE) as temporary:
        save_file({name: value.detach().cpu().contiguous() for name, value in weights.items()}, temporary)
    write_json(directory / SPEC_FILE, asdict(spec))


def read_spec(directory: Path) -> ModelSpec:
    """Read `directory`/model.json.

    Raises:
        UdmlError: if it is missing or not a spec of this version.
    """
    path = directory / SPEC_FILE
    if not path.exists():
        raise UdmlError(f"no trained model at {directory}", "run `dvc repro train` (or `udml train`) first")
    try:
        values = json.loads(path.read_text())
        return ModelSpec(**{**values, "mean": tuple(values["mean"]), "std": tuple(values["std"])})
    except (TypeError, KeyError, ValueError) as error:
        raise UdmlError(f"{path} is not a model spec of this version ({error})", "train again") from error


def load(directory: Path) -> tuple[Network, ModelSpec]:
    """Load a trained network in eval mode on the CPU, with its spec.

    Norms are folded where the weights' own names say so: what decided it then is not asked again.
    """
    spec = read_spec(directory)
    weights = load_file(directory / WEIGHTS_FILE)
    backbone = create_backbone(spec.backbone, False, spec.input_px)
    if is_folded(weights):
        fold_every_norm(backbone.trunk)
    network = with_heads(backbone, spec)
    network.load_state_dict(weights)
    return network.eval(), spec
