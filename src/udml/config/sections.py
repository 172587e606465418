"""The sections of `params.yaml`, one a stage, and where the work is done."""

from dataclasses import dataclass, field

from udml.config.checks import invalid, one_of, positive, share, within
from udml.config.notify import Notify
from udml.config.train import Train


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
        positive(self, "store_short_side_px", "min_side_px", "max_pixels")
        share(self, "test_share", "duplicate_min_correlation")
        within(self, "duplicate_max_bits", 0, 16)


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
        share(self, "max_quarantined_share", "min_share_in_range")
        if self.brightness_min >= self.brightness_max:
            raise invalid(self, "brightness_min", "must be below brightness_max")


@dataclass(frozen=True)
class Export:
    """How the model leaves PyTorch, and how exactly it must agree afterwards."""

    opset: int
    parity_images: int
    min_cosine: float
    min_top1_agreement: float
    quantize: str
    looks: int = 1  # as settings of before have it

    def __post_init__(self) -> None:
        within(self, "opset", 18, 25)
        within(self, "looks", 1, 2)
        one_of(self, "quantize", ("none", "int8"))
        within(self, "parity_images", 8, 1_000_000)
        share(self, "min_cosine", "min_top1_agreement")


@dataclass(frozen=True)
class Index:
    """Which FAISS index a gallery gets, and when a search of it finds nothing."""

    exact_below: int
    hnsw_below: int
    min_recall_at_10: float
    recall_queries: int
    no_match_error: float
    mix_neighbours: bool
    reference_images: int

    def __post_init__(self) -> None:
        share(self, "min_recall_at_10", "no_match_error")
        positive(self, "recall_queries", "reference_images")
        if self.exact_below > self.hnsw_below:
            raise invalid(self, "exact_below", "must be at most hnsw_below")


@dataclass(frozen=True)
class Evaluate:
    """What is reported, and within how much memory."""

    recall_at: tuple[int, ...]
    bootstrap_samples: int
    memory_budget_mib: int
    report_queries: int
    seed: int

    def __post_init__(self) -> None:
        positive(self, "bootstrap_samples", "memory_budget_mib", "report_queries")
        if not self.recall_at or any(k < 1 for k in self.recall_at) or self.recall_at[0] != 1:
            raise invalid(self, "recall_at", "must be a list of whole numbers that starts with 1")


@dataclass(frozen=True)
class Monitor:
    """When new images count as drifted from those in the index."""

    alarm_rate: float
    permutations: int
    min_images: int
    max_images: int
    seed: int

    def __post_init__(self) -> None:
        positive(self, "alarm_rate", "permutations")
        share(self, "alarm_rate")
        within(self, "min_images", 2, self.max_images)
        if self.alarm_rate * (self.permutations + 1) < 1:
            raise invalid(self, "permutations", "must be at least 1 / alarm_rate: fewer can never alarm")


@dataclass(frozen=True)
class Retrain:
    """When to train, and what a challenger must show before it serves. Differences of shares, 0..1."""

    when: str
    metric: str
    label_free_metric: str
    min_gain_over_frozen: float
    max_loss_to_champion: float

    def __post_init__(self) -> None:
        one_of(self, "when", ("news", "drift"))
        one_of(self, "metric", ("auto", "map_at_r", "r_precision", "recall_at_1"))
        one_of(self, "label_free_metric", ("neighbours_found_again", "found_again_mrr", "found_again_at_1"))
        share(self, "min_gain_over_frozen", "max_loss_to_champion")


@dataclass(frozen=True)
class Compute:
    """Where the work of the stages is done; what comes of it is the same."""

    engine: str = "local"
    address: str = "auto"

    def __post_init__(self) -> None:
        one_of(self, "engine", ("local", "ray"))
        host, _, port = self.address.rpartition(":")
        if self.address != "auto" and (not host or "/" in host or not port.isdecimal()):
            raise invalid(self, "address", "must be auto, or HOST:PORT of the cluster's head")


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
    notify: Notify = field(default_factory=Notify)
    compute: Compute = field(default_factory=Compute)
