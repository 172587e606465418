"""`params.yaml` as frozen, typed values. Unknown or contradictory keys are refused."""

import difflib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

import yaml

from udml.errors import UdmlError

PARAMS_FILE = Path("params.yaml")
LOSS_SETTINGS = {
    "nt_xent": ("temperature",),
    "multi_similarity": ("positive_scale", "negative_scale", "base", "mining_margin"),
    "triplet_semihard": ("margin",),
    "contrastive": ("positive_similarity", "negative_similarity"),
    "margin": ("margin", "boundary"),
    "proxy_anchor": ("margin", "scale"),
}
DEVICES = ("auto", "cpu", "cuda", "mps")


@dataclass(frozen=True)
class Prepare:
    """How files become a catalogue and a pixel store."""

    store_short_side_px: int
    min_side_px: int
    max_pixels: int
    test_share: float
    duplicate_max_bits: int
    duplicate_min_correlation: float
    seed: int

    def __post_init__(self) -> None:
        _positive(self, "store_short_side_px", "min_side_px", "max_pixels")
        _share(self, "test_share", "duplicate_min_correlation")
        _within(self, "duplicate_max_bits", 0, 16)


@dataclass(frozen=True)
class Validate:
    """What a catalogue must satisfy before anything is trained on it."""

    min_train_images: int
    min_test_images: int
    max_quarantined_share: float
    brightness_min: float
    brightness_max: float
    sharpness_min: float
    min_share_in_range: float
    min_test_classes: int

    def __post_init__(self) -> None:
        _share(self, "max_quarantined_share", "min_share_in_range")
        if self.brightness_min >= self.brightness_max:
            raise _invalid(self, "brightness_min", "must be below brightness_max")


@dataclass(frozen=True)
class Train:
    """The method (arXiv 1911.07072) and the budget. Lengths in px, times in optimiser steps."""

    backbone: str
    pretrained: bool
    frozen_blocks: int
    embedding_dim: int
    head_start: str
    head_whitening: float
    input_px: int
    crop_share: float
    crop_area_min: float
    crop_area_max: float
    turn_degrees: float
    light_stops: float
    cast_stops: float
    clusters: int | str
    clusters_per_batch: int
    images_per_cluster: int
    recluster_every_steps: int
    kmeans_iterations: int
    min_points_per_cluster: int
    max_points_per_cluster: int
    loss: str
    losses: dict[str, dict[str, float]]
    rotation_weight: float
    rotation_images: int
    rotation_hidden_dim: int
    steps: int
    learning_rate: float
    learning_rate_schedule: str
    average_decay: float
    weight_decay: float
    holdout_share: float
    holdout_max_images: int
    min_effective_rank_share: float
    device: str
    seed: int

    def __post_init__(self) -> None:
        _positive(self, "embedding_dim", "input_px", "recluster_every_steps", "kmeans_iterations")
        _positive(self, "steps", "learning_rate", "rotation_hidden_dim", "min_points_per_cluster")
        _positive(self, "max_points_per_cluster", "crop_share", "holdout_max_images")
        _within(self, "clusters_per_batch", 2, 100_000)
        _within(self, "images_per_cluster", 2, 100_000)
        _within(self, "rotation_images", 1, self.clusters_per_batch * self.images_per_cluster)
        _share(self, "crop_share", "crop_area_min", "crop_area_max", "holdout_share")
        _share(self, "min_effective_rank_share", "head_whitening")
        _share(self, "average_decay")
        _within(self, "turn_degrees", 0, 180)
        _within(self, "light_stops", 0, 3)
        _within(self, "cast_stops", 0, 3)
        _one_of(self, "head_start", ("pca", "random"))
        _one_of(self, "learning_rate_schedule", ("constant", "cosine"))
        _one_of(self, "loss", tuple(self.losses))
        _check_losses(self.losses)
        _one_of(self, "device", DEVICES)
        if not 0 < self.crop_area_min <= self.crop_area_max:
            raise _invalid(self, "crop_area_min", "must be above 0 and at most crop_area_max")
        if self.rotation_weight < 0:
            raise _invalid(self, "rotation_weight", "must be 0 (off) or more")
        if self.clusters != "auto" and not (isinstance(self.clusters, int) and self.clusters >= 2):
            raise _invalid(self, "clusters", "must be `auto` or a whole number of at least 2")
        if isinstance(self.clusters, int) and self.clusters < self.clusters_per_batch:
            raise _invalid(self, "clusters", "must be at least clusters_per_batch")


@dataclass(frozen=True)
class Export:
    """How the model leaves PyTorch, and how exactly it must agree afterwards."""

    opset: int
    parity_images: int
    min_cosine: float
    min_top1_agreement: float
    quantize: str

    def __post_init__(self) -> None:
        _within(self, "opset", 18, 25)
        _one_of(self, "quantize", ("none", "int8"))
        _within(self, "parity_images", 8, 1_000_000)
        _share(self, "min_cosine", "min_top1_agreement")


@dataclass(frozen=True)
class Index:
    """Which FAISS index a gallery gets, and when a search of it finds nothing."""

    exact_below: int
    hnsw_below: int
    min_recall_at_10: float
    recall_queries: int
    no_match_error: float
    reference_images: int

    def __post_init__(self) -> None:
        _share(self, "min_recall_at_10", "no_match_error")
        _positive(self, "recall_queries", "reference_images")
        if self.exact_below > self.hnsw_below:
            raise _invalid(self, "exact_below", "must be at most hnsw_below")


@dataclass(frozen=True)
class Evaluate:
    """What is reported, and within how much memory."""

    recall_at: tuple[int, ...]
    bootstrap_samples: int
    memory_budget_mib: int
    report_queries: int
    seed: int

    def __post_init__(self) -> None:
        _positive(self, "bootstrap_samples", "memory_budget_mib", "report_queries")
        if not self.recall_at or any(k < 1 for k in self.recall_at) or self.recall_at[0] != 1:
            raise _invalid(self, "recall_at", "must be a list of whole numbers that starts with 1")


@dataclass(frozen=True)
class Monitor:
    """When new images count as drifted from those in the index."""

    alarm_rate: float
    permutations: int
    min_images: int
    max_images: int
    seed: int

    def __post_init__(self) -> None:
        _positive(self, "alarm_rate", "permutations")
        _share(self, "alarm_rate")
        _within(self, "min_images", 2, self.max_images)
        if self.alarm_rate * (self.permutations + 1) < 1:
            raise _invalid(self, "permutations", "must be at least 1 / alarm_rate: fewer can never alarm")


@dataclass(frozen=True)
class Retrain:
    """When to train, and what a challenger must show before it serves. Differences of shares, 0..1."""

    when: str
    metric: str
    label_free_metric: str
    min_gain_over_frozen: float
    max_loss_to_champion: float

    def __post_init__(self) -> None:
        _one_of(self, "when", ("news", "drift"))
        _one_of(self, "metric", ("map_at_r", "r_precision", "recall_at_1"))
        _one_of(self, "label_free_metric", ("found_again_mrr", "found_again_at_1"))
        _share(self, "min_gain_over_frozen", "max_loss_to_champion")


@dataclass(frozen=True)
class Params:
    """The whole of `params.yaml`."""

    prepare: Prepare
    validate: Validate
    train: Train
    export: Export
    index: Index
    evaluate: Evaluate
    monitor: Monitor
    retrain: Retrain


Section = TypeVar("Section")


def load_params(path: Path = PARAMS_FILE) -> Params:
    """Read and check a params file.

    Raises:
        UdmlError: naming the file, the key and the mend, for a missing file, bad YAML, a missing
            or unknown key, a value of the wrong type or out of range, or two that contradict.
    """
    if not path.exists():
        raise UdmlError(f"no {path} here ({path.resolve()})", "run udml from the top of the project")
    try:
        values = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise UdmlError(f"{path} is not YAML: {error}", "undo the last edit of it") from error
    return parse_params(values, str(path))


def parse_params(values: Any, origin: str = "params") -> Params:
    """Build `Params` from plain nested dictionaries; see `load_params` for the errors."""
    hints = get_type_hints(Params)
    _check_keys(values, list(hints), origin)
    return Params(**{name: parse_section(values[name], hints[name], origin, name) for name in hints})


def parse_section(values: Any, section: type[Section], origin: str, name: str) -> Section:
    """One section of `Params` from a plain dictionary; see `load_params` for the errors."""
    hints = get_type_hints(section)
    names = [field.name for field in fields(section)]  # type: ignore[arg-type]
    _check_keys(values, names, f"{origin}, section {name}")
    parsed = {key: _convert(values[key], hints[key], f"{name}.{key}") for key in names}
    return section(**parsed)


def _check_keys(values: Any, names: list[str], where: str) -> None:
    if not isinstance(values, dict):
        raise UdmlError(
            f"{where}: expected keys and values, found {values!r}", "see the comments in params.yaml"
        )
    for key in values:
        if key not in names:
            near = difflib.get_close_matches(str(key), names, 1)
            known = f"did you mean `{near[0]}`?" if near else f"known keys: {', '.join(names)}"
            raise UdmlError(f"{where}: unknown key `{key}`", known)
    missing = [name for name in names if name not in values]
    if missing:
        raise UdmlError(f"{where}: missing key `{missing[0]}`", "`udml preset laptop` prints a complete file")


def _convert(value: Any, hint: Any, name: str) -> Any:
    """Check `value` against a field's type: bool, int, float, str, `int | str`, or a tuple of int."""
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint == tuple[int, ...]:
        if isinstance(value, list) and all(type(item) is int for item in value):
            return tuple(value)
    elif hint == dict[str, dict[str, float]] or type(value) in (get_args(hint) or (hint,)):
        return value
    raise UdmlError(
        f"{name} is {value!r}, expected {getattr(hint, '__name__', hint)}", "mend it in params.yaml"
    )


def _check_losses(losses: dict[str, dict[str, float]]) -> None:
    """Every loss has exactly its own settings, all of them numbers."""
    _check_keys(losses, list(LOSS_SETTINGS), "params.yaml, train.losses")
    for name, settings in losses.items():
        _check_keys(settings, list(LOSS_SETTINGS[name]), f"params.yaml, train.losses.{name}")
        for key, value in settings.items():
            _convert(value, float, f"train.losses.{name}.{key}")


def _invalid(section: object, key: str, rule: str) -> UdmlError:
    name = f"{type(section).__name__.lower()}.{key}"
    return UdmlError(f"{name} is {getattr(section, key)!r}: it {rule}", "mend it in params.yaml")


def _positive(section: object, *keys: str) -> None:
    for key in keys:
        if getattr(section, key) <= 0:
            raise _invalid(section, key, "must be above 0")


def _share(section: object, *keys: str) -> None:
    for key in keys:
        if not 0 <= getattr(section, key) <= 1:
            raise _invalid(section, key, "must be between 0 and 1")


def _within(section: object, key: str, low: int, high: int) -> None:
    if not low <= getattr(section, key) <= high:
        raise _invalid(section, key, f"must be between {low} and {high}")


def _one_of(section: object, key: str, names: tuple[str, ...]) -> None:
    if getattr(section, key) not in names:
        near = difflib.get_close_matches(str(getattr(section, key)), names, 1)
        raise _invalid(
            section,
            key,
            f"must be one of {', '.join(names)}" + (f"; did you mean {near[0]}?" if near else ""),
        )
