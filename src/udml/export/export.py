"""The export stage: trained weights in, three checked ONNX files out.

`model.onnx` is what ships. `frozen.onnx` is the pretrained trunk without any training here, with
the same preprocessing; `whitened.onnx` is that trunk with the head that training began with, which
evens out the variances of its features. These two are what every report sets beside it; they look at
an image as often as the first does.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn

from udml import config
from udml.data.catalog import read_catalog
from udml.data.shards import read_bytes
from udml.errors import UdmlError
from udml.export.graph import INPUT, export_network, export_networks, preprocessing_of
from udml.export.looks import LooksTwice, looking
from udml.export.parity import Embed, Parity, compare, largest_pixel_difference
from udml.export.quantize import as_json, quantize_if_it_pays
from udml.files import atomic_directory, write_json
from udml.learning.loop.checkpoint import WHITENED_FILE as HEAD_FILE
from udml.learning.model.backbone import Backbone, create_backbone
from udml.learning.model.network import ModelSpec, Network, load, with_heads
from udml.learning.model.preprocess import crop_share_steps, preprocess, view_ratio_steps
from udml.learning.model.weights import check_same
from udml.machine import usable_cores
from udml.model_card import ModelCard
from udml.pixels import decode
from udml.progress import progress

MODEL_FILE = "model.onnx"
FROZEN_FILE = "frozen.onnx"
WHITENED_FILE = "whitened.onnx"
PARITY_FILE = "parity.json"
PROTOCOLS = {
    "frozen": "pretrained backbone, pooled features, not trained on these images",
    "whitened": "pretrained backbone, pooled features, whitened on the training images",
}

_MAX_NORM_ERROR = 1e-3  # a shipped vector has length 1; search relies on it
_MAX_PIXEL_DIFFERENCE = 0.02  # grey levels of 255; float rounding makes under 0.003
_TINY_PX = (33, 50)  # height, width


class FrozenTrunk(nn.Module):
    """A pretrained trunk whose pooled features, scaled to unit length, are the embedding."""

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self.trunk = trunk

    def embed(self, features: torch.Tensor) -> torch.Tensor:
        """Pooled features [n, feature_dim] -> unit rows float32 [n, feature_dim]."""
        return F.normalize(features.float(), dim=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Float [n, 3, S, S] -> unit rows float32 [n, feature_dim]."""
        return self.embed(self.trunk(x))


class Baselines(nn.Module):
    """What training is compared with: a trunk's features as they are, and whitened."""

    def __init__(self, frozen: FrozenTrunk, whitened: Network) -> None:
        super().__init__()
        self.frozen, self.whitened = frozen, whitened

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Float [n, 3, S, S] -> unit rows float32 [n, feature_dim] and [n, embedding_dim]."""
        features = self.frozen.trunk(x)
        return self.frozen.embed(features), self.whitened.embed(features)


def export(trained: Path, prepared: Path, data_root: Path, out: Path, params: config.Export) -> None:
    """Write model.onnx, frozen.onnx, whitened.onnx and parity.json to `out`, or none of them.

    All three are compared with their PyTorch models on real photographs, from decoded pixels. Only
    then, and if asked for, may an int8 version of the first take its place; see `quantize`.

    Args:
        trained: what the train stage wrote.
        prepared: what the prepare stage wrote.
        data_root: the imported originals.
        out: replaced as a whole; once the inputs are read, a model of an earlier run is gone.
        params: operator set, looks at an image and the agreement demanded.

    Raises:
        UdmlError: if an input is missing, or a file disagrees with its PyTorch model; with numbers.
    """
    network, spec = load(trained)
    weights = check_same(spec.weights, spec.weights_sha256)
    backbone = create_backbone(spec.backbone, spec.pretrained, spec.input_px, weights)
    network.trunk = looking(network.trunk, params.looks)
    backbone = replace(backbone, trunk=looking(backbone.trunk, params.looks))
    images = list(_parity_images(prepared, data_root, params.parity_images, spec))
    shutil.rmtree(out, ignore_errors=True)
    with atomic_directory(out) as unfinished:
        report: dict[str, Any] = {"opset": params.opset, "onnx": onnx.__version__}
        report |= {"onnxruntime": onnxruntime.__version__, "torch": torch.__version__}
        card = model_card(network, spec, "trained", spec.embedding_dim)
        export_network(network, card, spec.mean, spec.std, params.opset, unfinished / MODEL_FILE)
        written = [(MODEL_FILE, network, card)]
        # models trained before there was a head that whitens have none
        head = load_file(trained / HEAD_FILE) if (trained / HEAD_FILE).exists() else None
        for file, model, card in written + _write_baselines(backbone, head, spec, params.opset, unfinished):
            report[card.kind] = {"model_version": card.model_version}
            report[card.kind] |= _checked(unfinished / file, model, spec, images, params)
        asked = params.quantize == "int8"
        report["quantization"] = as_json(
            quantize_if_it_pays(unfinished / MODEL_FILE, prepared) if asked else None
        )
        write_json(unfinished / PARITY_FILE, report)


def _write_baselines(
    backbone: Backbone, head: dict[str, torch.Tensor] | None, spec: ModelSpec, opset: int, directory: Path
) -> list[tuple[str, nn.Module, ModelCard]]:
    """Write frozen.onnx and, if there is a head that whitens, whitened.onnx; which, of what, their cards."""
    frozen = FrozenTrunk(backbone.trunk).eval()
    card = model_card(frozen, spec, "frozen", backbone.feature_dim)
    how = spec.mean, spec.std, opset
    if head is None:
        export_network(frozen, card, *how, directory / FROZEN_FILE)
        return [(FROZEN_FILE, frozen, card)]
    whitened = whitened_network(backbone, spec, head).eval()
    cards = [card, model_card(whitened, spec, "whitened", spec.embedding_dim)]
    files = [FROZEN_FILE, WHITENED_FILE]
    export_networks(Baselines(frozen, whitened), cards, *how, [directory / file for file in files])
    return list(zip(files, [frozen, whitened], cards, strict=True))


def whitened_network(backbone: Backbone, spec: ModelSpec, head: dict[str, torch.Tensor]) -> Network:
    """A pretrained trunk under the head that whitens its features: `weight` and `bias`."""
    network = with_heads(backbone, spec)
    network.embedding_head.load_state_dict(head)
    for unused in network.rotation_head.parameters():  # random numbers would be part of its version
        nn.init.zeros_(unused)
    return network


def model_card(network: nn.Module, spec: ModelSpec, kind: str, embedding_dim: int) -> ModelCard:
    """The card of a model of `kind` ("trained", "frozen" or "whitened") with these weights."""
    return ModelCard(
        model_version=model_version(network, spec),
        kind=kind,
        backbone=spec.backbone,
        embedding_dim=embedding_dim,
        input_px=spec.input_px,
        crop_share=spec.crop_share,
        store_short_side_px=spec.store_short_side_px,
        data_version=spec.data_version,
        weights_licence=spec.weights_licence,
        protocol=PROTOCOLS.get(kind, spec.protocol),
        weights_sha256=spec.weights_sha256,
        picked_step=spec.picked_step,
        looks=2 if any(isinstance(part, LooksTwice) for part in network.children()) else 1,
        view_ratio=spec.view_ratio,
    )


def model_version(network: nn.Module, spec: ModelSpec) -> str:
    """Sixteen hex digits of a sha256 over the weights and all that happens to pixels before them."""
    digest = hashlib.sha256()
    pixels = [spec.store_short_side_px, spec.input_px, crop_share_steps(spec.crop_share), spec.mean, spec.std]
    if spec.view_ratio != 1:  # models of before keep their versions
        pixels.append(view_ratio_steps(spec.view_ratio))
    digest.update(json.dumps([spec.backbone, pixels]).encode())
    for name, value in sorted(network.state_dict().items()):
        array = value.detach().cpu().contiguous().numpy()
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()[:16]


def torch_embed(network: nn.Module, spec: ModelSpec) -> Embed:
    """`network` with its preprocessing in PyTorch: uint8 [n, h, w, 3] -> float32 [n, d].

    An `nn.Identity` gives the preprocessed pixels.
    """

    def embed(images: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            pixels = torch.from_numpy(images.copy())  # store views are read-only, which torch warns of
            ready = preprocess(pixels, spec.input_px, spec.crop_share, spec.mean, spec.std, spec.view_ratio)
            return network(ready).numpy()

    return embed


def onnx_embed(model: bytes) -> Embed:
    """An ONNX file in ONNX Runtime with all its optimisations: uint8 [n, h, w, 3] -> its output."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = usable_cores()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def embed(images: np.ndarray) -> np.ndarray:
        return session.run(None, {INPUT: images})[0]

    return embed


def _checked(
    path: Path, network: nn.Module, spec: ModelSpec, images: list[np.ndarray], params: config.Export
) -> dict[str, float]:
    """How far the file is from the network; raises where that is too far."""
    parity = compare(torch_embed(network, spec), onnx_embed(path.read_bytes()), images)
    pixel_difference = max(spec.std) * largest_pixel_difference(
        torch_embed(nn.Identity(), spec), onnx_embed(preprocessing_of(path).SerializeToString()), images
    )
    _require_agreement(parity, pixel_difference, path.name, params)
    return asdict(parity) | {"max_pixel_difference": pixel_difference}


def _parity_images(prepared: Path, data_root: Path, count: int, spec: ModelSpec) -> Iterator[np.ndarray]:
    """Up to `count` photographs, spread evenly over the catalogue, each decoded to one of six sizes."""
    columns = ["data_shard", "data_offset", "size_bytes", "sha256", "width", "height"]
    catalog = read_catalog(prepared, columns)
    rows = np.unique(np.linspace(0, len(catalog) - 1, min(count, len(catalog))).round().astype(int))
    for order, row in enumerate(progress(rows, "decode parity images", unit="image")):
        place = catalog.iloc[row]
        where = (int(place.data_shard), int(place.data_offset), int(place.size_bytes))
        data = read_bytes(data_root, *where, sha256=place.sha256)
        max_pixels = int(place.width) * int(place.height)  # prepare let it through at this size
        yield _at_some_size(data, order, max_pixels, spec)


def _at_some_size(data: bytes, order: int, max_pixels: int, spec: ModelSpec) -> np.ndarray:
    """Decode a file to one of six shapes that a caller may send (`order` modulo 6): uint8 [h, w, 3]."""
    store_px = spec.store_short_side_px
    shape = order % 6
    # 0: as it is searched with; 1: larger than the store keeps; 5: smaller than the network's input
    short_side_px = (store_px, 3 * store_px, store_px, store_px, _TINY_PX[1], max(8, spec.input_px // 2))[
        shape
    ]
    image = decode(data, short_side_px, max_pixels=max_pixels).pixels
    if shape == 2:  # landscape for portrait
        image = np.rot90(image)
    elif shape == 3:  # odd sides, and margins that do not halve
        image = image[: max(1, image.shape[0] - 1), : max(1, image.shape[1] - 3)]
    elif shape == 4:
        image = image[: _TINY_PX[0], : _TINY_PX[1]]
    return np.ascontiguousarray(image)


def _require_agreement(parity: Parity, pixel_difference: float, file: str, params: config.Export) -> None:
    if (
        parity.min_cosine >= params.min_cosine
        and parity.top1_agreement >= params.min_top1_agreement
        and parity.max_norm_error <= _MAX_NORM_ERROR
        and pixel_difference <= _MAX_PIXEL_DIFFERENCE
    ):
        return
    raise UdmlError(
        f"{file} disagrees with the PyTorch model it was made from, on {parity.images} photographs of"
        f" {parity.sizes} sizes (no model was written): lowest cosine {parity.min_cosine:.6f} (wanted"
        f" {params.min_cosine}), same nearest neighbour {parity.top1_agreement:.4f} (wanted"
        f" {params.min_top1_agreement}), length off by {parity.max_norm_error:.1e} (at most"
        f" {_MAX_NORM_ERROR:.0e}), resized pixels off by {pixel_difference:.3f} grey levels (at most"
        f" {_MAX_PIXEL_DIFFERENCE})",
        "install the locked versions of torch, onnx and onnxruntime, or try another export.opset",
    )
