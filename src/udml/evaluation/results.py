"""What evaluate found out: plain data that the metrics file and the report are written from.

Shapes: n test images in catalogue order, d embedding length, k neighbours.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from udml.evaluation.intervals import Estimate
from udml.evaluation.neighbourhoods import Neighbourhoods
from udml.model_card import ModelCard

# Names of the protocols that need labels, in the order they are reported. The first is the main one.
LEAVE_ONE_OUT = "leave_one_out"
LEAVE_ONE_OUT_DUPLICATES = "leave_one_out_duplicates"  # copies of the query count as hits
QUERY_GALLERY = "query_gallery"  # only where the data names query and gallery images
QUERY_GALLERY_DUPLICATES = "query_gallery_duplicates"
# The same queries and galleries as the first and third, searched by neighbourhoods.
LEAVE_ONE_OUT_REFINED = "leave_one_out_neighbourhoods"
QUERY_GALLERY_REFINED = "query_gallery_neighbourhoods"
# What the trained model has to beat, in words, by its name among the models.
BASELINES = {"frozen": "the frozen backbone", "whitened": "the frozen backbone, whitened,"}
REFINEMENT = "refinement"  # of the trained model: by neighbourhoods, less by similarity alone


@dataclass(frozen=True)
class Scores:
    """One model under one protocol that needs labels.

    Attributes:
        protocol: how these numbers came about, in one line.
        estimates: "recall_at_1", ..., "map_at_r", "r_precision": means over queries with 95 %
            bootstrap intervals, 0..1.
        query: int64 [q] positions (0..n-1) of the scored queries among the test images.
        per_query: float64 [q] for each name in `estimates`; a hit or miss for Recall@K (1.0 or 0.0).
        without_match: queries left out because the gallery holds nothing of their class.
    """

    protocol: str
    estimates: Mapping[str, Estimate]
    query: np.ndarray
    per_query: Mapping[str, np.ndarray]
    without_match: int


@dataclass(frozen=True)
class ModelEvaluation:
    """Everything measured on one model.

    Attributes:
        card: of the ONNX file that was scored.
        embeddings: float32 [n, d], unit rows.
        scores: by protocol name (see above); empty without labels.
        clustering: "nmi" and "ami", 0..1 and up to 1, no intervals; empty without labels.
        clustering_protocol: how, in one line.
        label_free: "neighbours_found_again", "found_again_at_1" and "found_again_mrr" (0..1, an image or
            its neighbours searched by a strongly changed view of it; these three with intervals),
            "effective_rank", "embedding_std", "mean_cosine", "hubness" (low = high = NaN: no interval).
        label_free_protocol: how, in one line.
        found_again: float64 [v] reciprocal ranks of the views behind "found_again_*".
        neighbours_found: float64 [v], of each view, behind "neighbours_found_again".
        neighbours: int64 [n, k] catalogue rows of each test image's nearest test images, nearest
            first, itself left out, duplicates left in; k is at most 10.
        similarities: float32 [n, k] cosines of the neighbours.
        neighbourhoods: of the n images, where the search that ships knows them.
    """

    card: ModelCard
    embeddings: np.ndarray
    scores: Mapping[str, Scores]
    clustering: Mapping[str, float]
    clustering_protocol: str
    label_free: Mapping[str, Estimate]
    label_free_protocol: str
    found_again: np.ndarray
    neighbours_found: np.ndarray
    neighbours: np.ndarray
    similarities: np.ndarray
    neighbourhoods: Neighbourhoods | None = None


@dataclass(frozen=True)
class Evaluation:
    """Trained embedding and frozen backbone on the same test images.

    What training has to beat is the frozen backbone, whitened: that costs seconds and no training.

    Attributes:
        rows: int64 [n] catalogue rows of the test images, ascending.
        labels: int64 [n] class codes, -1 for no label.
        class_names: name of each code.
        trained, frozen: the two models; or two that are to be compared.
        whitened: the frozen backbone with the variances of its features evened out, the head that
            training began with; None where there is none.
        differences: protocol name -> metric -> trained minus `baseline` with its paired 95 % interval;
            "label_free" holds those of the figures with a value a view; REFINEMENT, where the
            index is searched by neighbourhoods, what that adds to leave-one-out with the trained model.
    """

    rows: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    trained: ModelEvaluation
    frozen: ModelEvaluation
    whitened: ModelEvaluation | None
    differences: Mapping[str, Mapping[str, Estimate]]

    @property
    def models(self) -> dict[str, ModelEvaluation]:
        """The models by name, the one that ships first: "trained", "whitened" if there is one, "frozen"."""
        whitened = {"whitened": self.whitened} if self.whitened else {}
        return {"trained": self.trained, **whitened, "frozen": self.frozen}

    @property
    def baseline_name(self) -> str:
        """Which of `models` the trained one has to beat."""
        return "whitened" if self.whitened else "frozen"

    @property
    def baseline(self) -> ModelEvaluation:
        """What the trained model has to beat: the frozen backbone, whitened if it was."""
        return self.models[self.baseline_name]

    @property
    def labelled(self) -> bool:
        """Whether there are scores that need labels."""
        return bool(self.trained.scores)
