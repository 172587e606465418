"""Photos in, neighbours out: the engine beside PyTorch, and the service beside the engine.

All do the same work on the same photos with the same number of threads: decode the JPEG, make its
vector, search the same index. They take turns, so that whatever else the machine does hits them alike.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from benchmarks.serving.client import serving
from benchmarks.serving.trials import PATIENT, search, throughput
from benchmarks.settings import SEARCH_BATCH
from udml import Searcher
from udml.learning.model.network import ModelSpec, Network
from udml.learning.model.preprocess import preprocess
from udml.machine import usable_cores

CLIENTS = 2 * SEARCH_BATCH  # one batch is embedded while another is decoded, as in the engine's own loop
K = 8
Embed = Callable[[Sequence[np.ndarray]], np.ndarray]


@dataclass
class Speed:
    """What was measured of one contestant.

    Attributes:
        alone_ms: time of each photo by itself.
        per_second: photos a second in batches, one entry per round.
    """

    alone_ms: list[float] = field(default_factory=list)
    per_second: list[float] = field(default_factory=list)


def compare(
    root: Path, network: Network, spec: ModelSpec, photos: Sequence[bytes], rounds: int, alone: int
) -> dict[str, Speed]:
    """Engine, PyTorch eager, torch.compile and the service on root's champion, in turns.

    Args:
        root: a registry whose champion was exported from `network`.
        network: the champion's, in PyTorch.
        spec: its preprocessing.
        photos: JPEG files; a multiple of SEARCH_BATCH.
        rounds: how often each has its turn.
        alone: photos of each round's latency.
    """
    torch.set_num_threads(usable_cores())
    network.eval()
    speeds = {name: Speed() for name in ("engine", "eager", "compile", "service")}
    requests = [search(photo) for photo in photos]
    with (
        serving(root, *PATIENT) as served,
        Searcher.open(root / "models" / "champion", root / "data") as searcher,
        ThreadPoolExecutor(usable_cores()) as pool,
    ):
        embeds: dict[str, Embed] = {
            "engine": searcher.embed_images,
            "eager": torch_embed(network, spec),
            # a graph for each batch size: one for all of them can take sympy for ever at 224 px
            "compile": torch_embed(torch.compile(network, dynamic=False), spec),
        }
        _check_alike(embeds, [searcher.decode(photo) for photo in photos[:SEARCH_BATCH]])
        for turn in range(rounds + 1):
            for name, embed in embeds.items():
                alone_ms = [_alone(searcher, embed, photo) for photo in photos[:alone]]
                per_second = _batches(searcher, embed, photos, pool)
                if turn:  # the first turn only warms up
                    speeds[name].alone_ms += alone_ms
                    speeds[name].per_second.append(per_second)
            per_second = throughput(served.port, requests, warm_up=0, count=len(requests), clients=CLIENTS)
            if turn:
                speeds["service"].per_second.append(per_second)
    return speeds


def torch_embed(network: Callable[[torch.Tensor], torch.Tensor], spec: ModelSpec) -> Embed:
    """The model in PyTorch: images of equal size are preprocessed together, then all embedded together."""

    def embed(images: Sequence[np.ndarray]) -> np.ndarray:
        by_shape: dict[tuple[int, ...], list[int]] = {}
        for position, image in enumerate(images):
            by_shape.setdefault(image.shape, []).append(position)
        with torch.inference_mode():
            ready = torch.empty(len(images), 3, spec.input_px, spec.input_px)
            for positions in by_shape.values():
                pixels = torch.from_numpy(np.stack([images[position] for position in positions]))
                ready[positions] = preprocess(
                    pixels, spec.input_px, spec.crop_share, spec.mean, spec.std, spec.view_ratio
                )
            return network(ready).numpy()

    return embed


def _check_alike(embeds: dict[str, Embed], images: Sequence[np.ndarray]) -> None:
    """Contestants that do other work are not compared."""
    vectors = {name: embed(images) for name, embed in embeds.items()}
    for name, made in vectors.items():
        lowest = float((made * vectors["engine"]).sum(axis=1).min())
        if lowest < 0.999:
            raise SystemExit(f"{name} gives other vectors than the engine: cosine {lowest:.5f}")


def _alone(searcher: Searcher, embed: Embed, photo: bytes) -> float:
    began = time.perf_counter()
    searcher.neighbours(embed([searcher.decode(photo)]), K)
    return 1000 * (time.perf_counter() - began)


def _batches(searcher: Searcher, embed: Embed, photos: Sequence[bytes], pool: ThreadPoolExecutor) -> float:
    """Photos a second in batches; the next batch is decoded while one is embedded."""
    began = time.perf_counter()
    images = pool.map(searcher.decode, photos)
    for _ in range(0, len(photos), SEARCH_BATCH):
        searcher.neighbours(embed([next(images) for _ in range(SEARCH_BATCH)]), K)
    return len(photos) / (time.perf_counter() - began)


def lines(input_px: int, speeds: dict[str, Speed]) -> list[str]:
    """Rows of the table: median, lowest and highest of the rounds, and ratios within a round."""
    rows = []
    for name, speed in speeds.items():
        quantiles = np.percentile(speed.alone_ms, [50, 99]).tolist() if speed.alone_ms else []
        latency = " / ".join(f"{value:.1f}" for value in quantiles)
        other = "eager" if name == "engine" else "engine"
        ratios = [a / b for a, b in zip(speed.per_second, speeds[other].per_second, strict=True)]
        rows.append(
            f"| {input_px} px | {name} | {latency} | {_spread(speed.per_second, 0)} |"
            f" {_spread(ratios, 2)} x {other} |"
        )
    return rows


def _spread(values: Sequence[float], digits: int) -> str:
    low, high = min(values), max(values)
    return f"{statistics.median(values):.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"
