"""Head tuning: the pass over the views beside the bare forward pass, and the training that follows.

    python -m benchmarks.training.head                    ViT-S, 224 px, random weights
    python -m benchmarks.training.head --pictures 600     a longer pass

The pass makes the views of some pictures (noise, 256 px: what they show costs nothing) and their features,
as the stage `train` does; the bare pass is the trunk alone on views that are there already. They take turns.
Then the head is trained on made-up features of 5,000 images, around 200 centres, with the settings of
params.yaml.
"""

import argparse
import dataclasses
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator

from benchmarks.contenders import machine, spread
from udml.config import Train, load_params
from udml.learning.loop.feature_bank import PICTURES_AT_ONCE, RANDOM_VIEWS, fill_bank, views_of_image
from udml.learning.loop.fit import fit
from udml.learning.loop.run import TrainingSet
from udml.learning.model.network import Network, start_network
from udml.learning.views.training import fixed_view
from udml.machine import keep_freed_memory

HELD = 250
CENTRES = 200
STORE_PX = 256


def main() -> None:
    """Run both and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--backbone", default="vit_small_patch16_224")
    parser.add_argument("--input-px", type=int, default=224)
    parser.add_argument("--pictures", type=int, default=48, help="of a stretch of the pass")
    parser.add_argument("--rounds", type=int, default=3, help="stretches of each kind")
    parser.add_argument("--images", type=int, default=5000, help="to train on")
    options = parser.parse_args()
    keep_freed_memory()
    params = dataclasses.replace(
        load_params().train, backbone=options.backbone, pretrained=False, input_px=options.input_px,
        tuning="head", device="cpu",
    )  # fmt: skip
    print(machine())
    network, backbone = start_network(params)
    mean, std = (torch.tensor(c).view(3, 1, 1) for c in (backbone.mean, backbone.std))

    @torch.inference_mode()
    def features(views: np.ndarray) -> torch.Tensor:
        return network.features((torch.from_numpy(views).permute(0, 3, 1, 2).float() - mean) / std)

    network.to(memory_format=torch.channels_last)
    compare_passes(params, features, backbone.feature_dim, options.pictures, options.rounds)
    train_on_made_up(network, params, options.images)


def compare_passes(
    params: Train, features: Callable[[np.ndarray], torch.Tensor], length: int, pictures: int, rounds: int
) -> None:
    """The pass and the bare pass in turns; the first round warms up and is not counted."""
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (STORE_PX, STORE_PX, 3), np.uint8) for _ in range(pictures)]
    fixed = [fixed_view(image, params.input_px, params.crop_share, params.view_ratio) for image in images]
    each = RANDOM_VIEWS + 1
    ready = np.concatenate([views_of_image(i, f, params, 0) for i, f in zip(images, fixed, strict=True)])
    seconds: dict[str, list[float]] = {"bare": [], "pass": []}
    for turn in range(rounds + 1):
        began = time.perf_counter()
        for start in range(0, len(ready), PICTURES_AT_ONCE):
            features(ready[start : start + PICTURES_AT_ONCE])
        bare = time.perf_counter() - began
        with tempfile.TemporaryDirectory() as scratch:
            began = time.perf_counter()
            fill_bank(
                Path(scratch) / "train",
                (pictures, each, length),
                lambda row: views_of_image(images[row], fixed[row], params, row),
                features,
                Accelerator(cpu=True),
            )
            whole = time.perf_counter() - began
        if turn:
            seconds["bare"].append(bare)
            seconds["pass"].append(whole)
    shares = [100 * bare / whole for bare, whole in zip(*seconds.values(), strict=True)]
    print(f"pass over {len(ready)} views: {spread(seconds['pass'])} s; bare: {spread(seconds['bare'])} s")
    print(f"speed of the pass, % of the bare one's: {spread(shares)}")


def train_on_made_up(network: Network, params: Train, images: int) -> None:
    """Training as it goes once features are there."""
    rng = np.random.default_rng(0)
    length = network.embedding_head.in_features
    centres = rng.standard_normal((CENTRES, length)).astype(np.float32)
    kinds = rng.integers(0, CENTRES, images + HELD)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        for name, rows, views in (
            ("train", slice(images), RANDOM_VIEWS + 1),
            ("held", slice(images, None), 2),
        ):
            found = centres[kinds[rows], None] + rng.standard_normal((len(kinds[rows]), views, length))
            _write_bank(scratch / name, found)
        nothing = np.empty((0, 1, 1, 3), np.uint8)
        data = TrainingSet([nothing] * images, nothing, np.empty((HELD, 1, 1, 3), np.uint8), nothing)
        began = time.perf_counter()
        rounds = fit(network, data, params, ((0.0,) * 3, (1.0,) * 3), scratch)
        seconds = time.perf_counter() - began
    print(f"training proper, {images} images, {rounds[-1]['step']} steps: {seconds:.1f} s")


def _write_bank(path: Path, features: np.ndarray) -> None:
    """A finished bank of features float [n, v, c]: nothing is left to make."""
    made = iter(range(len(features)))

    def make(row: int) -> np.ndarray:
        return np.zeros((features.shape[1], 1, 1, 3), np.uint8)

    def given(views: np.ndarray) -> torch.Tensor:
        rows = [next(made) for _ in range(len(views) // features.shape[1])]
        return torch.from_numpy(features[rows].reshape(-1, features.shape[2])).float()

    fill_bank(path, features.shape, make, given, Accelerator(cpu=True))


if __name__ == "__main__":
    main()
