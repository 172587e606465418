"""An int8 version of the exported model, shipped only where it pays: nearly as good, and faster here.

Static quantisation (onnxruntime.quantization, QDQ): weights per channel, activations by the ranges that
training images reach. Convolutions and their clipping run in int8, but for the first two: there each
grey level still counts. Preprocessing, pooling and the embedding head stay float32 too; they cost little.
"""

import hashlib
import logging
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import onnx
from onnx import helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from udml.data.catalog import ImageStore, open_store, read_catalog
from udml.errors import UdmlError
from udml.evaluation.labelfree import augmentation_retrieval
from udml.evaluation.metrics import Embedded, score_queries
from udml.export.graph import INPUT
from udml.files import atomic_path
from udml.learning.views.strong import strong_view
from udml.progress import progress
from udml.search.embedder import Embedder, embed_store

MAX_LOSS_POINTS = 0.5
MIN_SPEEDUP = 1.2
_TYPES = ["Conv", "Clip"]
_FLOAT32_CONVOLUTIONS = 2
_CALIBRATION_IMAGES = 200
_SCORED_IMAGES = 1000
_BATCH = 16
_ROUNDS = 30
_SEED = 0
_MEMORY_BYTES = 2**28


@dataclass(frozen=True)
class Judgement:
    """How an int8 model compares with the float32 one it was made from, on this machine.

    Attributes:
        shipped: whether it takes the float32 model's place.
        score: "MAP@R", leave-one-out without copies, where there are labels; else "found again".
        float32, int8: that score, in percent, on `images` test images.
        speedup_single, speedup_batch: float32 time / int8 time, for one image and for a batch of 16;
            median over alternating rounds.
        verdict: all that in a sentence.
    """

    shipped: bool
    score: str
    images: int
    float32: float
    int8: float
    speedup_single: float
    speedup_batch: float
    verdict: str


def quantize_if_it_pays(model: Path, prepared: Path) -> Judgement:
    """Put an int8 model in the place of `model`, if it loses little and is faster on this machine.

    Args:
        model: a checked float32 model of this export.
        prepared: what the prepare stage wrote; training images calibrate, test images judge.

    Raises:
        UdmlError: if there are no training images, or fewer than two test images.
    """
    catalog = read_catalog(prepared)
    store = open_store(prepared, catalog)
    split = catalog["split"].to_numpy()
    train = _spread(np.flatnonzero(split == "train"), _CALIBRATION_IMAGES)
    test = _spread(np.flatnonzero(split == "test"), _SCORED_IMAGES)
    if len(train) == 0 or len(test) < 2:
        raise UdmlError("there are too few images to quantise with", "set export.quantize to none")
    candidate = model.with_name("int8.onnx")
    try:
        write_int8(model, [store[int(row)] for row in train], candidate)
        labels = catalog["label"].iloc[test].to_numpy(object)
        groups = catalog["group"].to_numpy()[test].astype(np.int64)
        judgement = judge(Embedder(model), Embedder(candidate), store, test, labels, groups)
        if judgement.shipped:
            with atomic_path(model) as temporary:
                temporary.write_bytes(candidate.read_bytes())
    finally:
        candidate.unlink(missing_ok=True)
    return judgement


def write_int8(model: Path, images: list[np.ndarray], out: Path) -> None:
    """Write an int8 version of an exported model, with a card and a version of its own.

    Args:
        model: what `graph.export_network` wrote.
        images: uint8 [h, w, 3] each, to calibrate with.
        out: the file to write.
    """
    source = onnx.load(model)
    convolutions = [node for node in source.graph.node if node.op_type == "Conv"]
    made_by_int8 = {node.output[0] for node in convolutions[_FLOAT32_CONVOLUTIONS:]}
    kept = [node.name for node in convolutions[:_FLOAT32_CONVOLUTIONS]]
    kept += [n.name for n in source.graph.node if n.op_type == "Clip" and n.input[0] not in made_by_int8]
    with atomic_path(out) as temporary, _without_advice():
        quantize_static(
            source,
            str(temporary),
            _Reader(images),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=_TYPES,
            nodes_to_exclude=kept,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        made = onnx.load(temporary)
        del made.metadata_props[:]
        version = hashlib.sha256(made.SerializeToString(deterministic=True)).hexdigest()[:16]
        card = replace(Embedder(model).card, model_version=version)
        helper.set_model_props(made, dict(sorted(card.to_metadata().items())))
        temporary.write_bytes(made.SerializeToString(deterministic=True))


@contextmanager
def _without_advice() -> Iterator[None]:
    """ONNX Runtime advises to fold constants first; the exported graph is folded already."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """Hands calibration images to ONNX Runtime, one at a time."""

    def __init__(self, images: list[np.ndarray]) -> None:
        self._images: Iterator[np.ndarray] = iter(progress(images, "calibrate int8", unit="image"))

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next input, or None at the end."""
        image = next(self._images, None)
        return None if image is None else {INPUT: image[None]}


def judge(
    float32: Embedder,
    int8: Embedder,
    store: ImageStore,
    rows: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray,
) -> Judgement:
    """Compare two models of the same network.

    Args:
        float32: the model as exported.
        int8: the model quantised.
        store: decoded pixels.
        rows: int [n], the images to judge with.
        labels: [n], strings or None.
        groups: int64 [n], equal for duplicates.
    """
    labelled = np.array([isinstance(label, str) for label in labels])
    codes = np.unique(labels[labelled].astype(str), return_inverse=True)[1]
    if len(codes) > len(np.unique(codes)):  # two of a class at least
        rows, groups = rows[labelled], groups[labelled]
        name = "MAP@R"
        scores = [100 * _map_at_r(e, store, rows, codes, groups) for e in (float32, int8)]
    else:
        name = "found again"
        scores = [100 * _found_again(e, store, rows) for e in (float32, int8)]
    batch = [store[int(row)] for row in rows[:_BATCH]]
    single, many = (speedup(float32, int8, images) for images in (batch[:1], batch))
    loss = scores[0] - scores[1]
    shipped = loss <= MAX_LOSS_POINTS and min(single, many) > MIN_SPEEDUP
    verdict = (
        f"{'int8 ships' if shipped else 'float32 ships, int8 was refused'}: "
        f"{name} {scores[1]:.1f} % in int8, {scores[0]:.1f} % in float32 "
        f"({MAX_LOSS_POINTS} points may be lost); {single:.2f} times as fast for one image, "
        f"{many:.2f} for {len(batch)} (over {MIN_SPEEDUP} wanted of both)"
    )
    return Judgement(shipped, name, len(rows), scores[0], scores[1], single, many, verdict)


def speedup(slow: Embedder, fast: Embedder, images: list[np.ndarray]) -> float:
    """How many times as fast the second embeds these images: median over alternating rounds."""
    ratios = []
    for warm_up in [True] * 3 + [False] * _ROUNDS:
        seconds = [_seconds(embedder, images) for embedder in (slow, fast)]
        if not warm_up:
            ratios.append(seconds[0] / seconds[1])
    return statistics.median(ratios)


def _seconds(embedder: Embedder, images: list[np.ndarray]) -> float:
    began = time.perf_counter()
    for _ in range(max(1, _BATCH // len(images))):
        embedder.embed(images)
    return time.perf_counter() - began


def _map_at_r(
    embedder: Embedder, store: ImageStore, rows: np.ndarray, codes: np.ndarray, groups: np.ndarray
) -> float:
    embedded = Embedded(embed_store(embedder, store, rows, "judge int8"), codes, groups)
    scores = score_queries(embedded, embedded, np.arange(len(rows)), [1], True, _MEMORY_BYTES)
    return float(scores.values["map_at_r"].mean())


def _found_again(embedder: Embedder, store: ImageStore, rows: np.ndarray) -> float:
    rng = np.random.default_rng(_SEED)
    views = embedder.embed([strong_view(store[int(row)], rng) for row in rows])
    images = embed_store(embedder, store, rows, "judge int8")
    return augmentation_retrieval(views, images, np.arange(len(rows)))["r1"]


def _spread(rows: np.ndarray, at_most: int) -> np.ndarray:
    """At most so many of the rows, at even distances."""
    if len(rows) <= at_most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, at_most).round().astype(np.int64)]


def as_json(judgement: Judgement | None) -> dict[str, object]:
    """What parity.json says of quantisation."""
    if judgement is None:
        return {"asked": "none", "verdict": "float32 ships, nothing else was asked for"}
    return {"asked": "int8", **asdict(judgement)}
