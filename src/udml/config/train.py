"""Settings of the stage `train`."""

import math
from dataclasses import dataclass

from udml.config.checks import check_keys, convert, invalid, one_of, positive, share, within

LOSS_SETTINGS = {
    "nt_xent": ("temperature",),
    "multi_similarity": ("positive_scale", "negative_scale", "base", "mining_margin"),
    "triplet_semihard": ("margin",),
    "contrastive": ("positive_similarity", "negative_similarity"),
    "margin": ("margin", "boundary"),
    "proxy_anchor": ("margin", "scale"),
}
DEVICES = ("auto", "cpu", "cuda", "mps")
LABELS = ("kmeans", "graph")
TUNINGS = ("full", "blocks", "lora", "head")


@dataclass(frozen=True)
class Train:
    """The method (arXiv 1911.07072) and the budget. Lengths in px, times in optimiser steps.

    What has a value here may be left out of a file: older ones don't have it.
    """

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
    steps: int | str
    learning_rate: float
    learning_rate_schedule: str
    average_decay: float
    weight_decay: float
    holdout_share: float
    holdout_max_images: int
    min_effective_rank_share: float
    device: str
    seed: int
    tuning: str = "blocks"
    weights: str | None = None
    weights_licence: str | None = None
    use_judgements: bool = False
    budget_minutes: float | None = None
    max_passes: float | None = None  # where params.yaml is from before there was a bound
    labels: str = "kmeans"  # where params.yaml is from before there was a choice
    view_ratio: float = 1.0  # as settings of before have it

    def __post_init__(self) -> None:
        positive(self, "embedding_dim", "input_px", "recluster_every_steps", "kmeans_iterations")
        positive(self, "learning_rate", "rotation_hidden_dim", "min_points_per_cluster")
        if self.steps != "auto" and not (isinstance(self.steps, int) and self.steps > 0):
            raise invalid(self, "steps", "must be `auto` or a whole number of at least 1")
        if self.budget_minutes is not None and not 0 < self.budget_minutes < math.inf:
            raise invalid(self, "budget_minutes", "must be null (no bound) or a number of minutes above 0")
        if self.max_passes is not None and not 0 < self.max_passes < math.inf:
            raise invalid(self, "max_passes", "must be null (no bound) or a number above 0")
        positive(self, "max_points_per_cluster", "crop_share", "holdout_max_images")
        within(self, "clusters_per_batch", 2, 100_000)
        within(self, "images_per_cluster", 2, 100_000)
        within(self, "rotation_images", 1, self.clusters_per_batch * self.images_per_cluster)
        share(self, "crop_share", "crop_area_min", "crop_area_max", "holdout_share")
        share(self, "min_effective_rank_share", "head_whitening")
        share(self, "average_decay")
        within(self, "view_ratio", 1, 10)
        within(self, "turn_degrees", 0, 180)
        within(self, "light_stops", 0, 3)
        within(self, "cast_stops", 0, 3)
        one_of(self, "head_start", ("pca", "random"))
        one_of(self, "learning_rate_schedule", ("constant", "cosine"))
        one_of(self, "loss", tuple(self.losses))
        _check_losses(self.losses)
        one_of(self, "device", DEVICES)
        one_of(self, "tuning", TUNINGS)
        one_of(self, "labels", LABELS)
        if self.weights_licence and not self.weights:
            raise invalid(self, "weights_licence", "is of train.weights, which names no file")
        if not 0 < self.crop_area_min <= self.crop_area_max:
            raise invalid(self, "crop_area_min", "must be above 0 and at most crop_area_max")
        if self.rotation_weight < 0:
            raise invalid(self, "rotation_weight", "must be 0 (off) or more")
        if self.clusters != "auto" and not (isinstance(self.clusters, int) and self.clusters >= 2):
            raise invalid(self, "clusters", "must be `auto` or a whole number of at least 2")
        if isinstance(self.clusters, int) and self.clusters < self.clusters_per_batch:
            raise invalid(self, "clusters", "must be at least clusters_per_batch")


def _check_losses(losses: dict[str, dict[str, float]]) -> None:
    """Every loss has exactly its own settings, all of them numbers."""
    check_keys(losses, list(LOSS_SETTINGS), "params.yaml, train.losses")
    for name, settings in losses.items():
        check_keys(settings, list(LOSS_SETTINGS[name]), f"params.yaml, train.losses.{name}")
        for key, value in settings.items():
            convert(value, float, f"train.losses.{name}.{key}")
