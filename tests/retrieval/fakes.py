"""Tiny workspaces made in memory: what prepare and train would have left behind."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from udml.data.catalog import (
    CATALOG_FILE,
    CATALOG_SCHEMA,
    QUARANTINE_FILE,
    QUARANTINE_SCHEMA,
    store_file,
    write_table,
)
from udml.files import write_json
from udml.model_card import ModelCard
from udml.retrieval.evaluation import (
    LEAVE_ONE_OUT,
    LEAVE_ONE_OUT_DUPLICATES,
    Evaluation,
    ModelEvaluation,
    Scores,
)
from udml.retrieval.intervals import Estimate, bootstrap, paired_bootstrap

_EDGES = [0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 10**9]
_FAKE_LABEL_FREE = {"effective_rank": 183.2, "embedding_std": 0.042, "mean_cosine": 0.21, "hubness": 1.7}


def write_prepared(
    prepared: Path,
    images: Sequence[np.ndarray],
    labels: Sequence[str | None],
    splits: Sequence[str],
    groups: Sequence[int] | None = None,
    quarantine: Sequence[dict[str, Any]] = (),
    sources: Sequence[str] | None = None,
) -> Path:
    """Write a catalogue (image_id = 1000 + row), its store of one file, and a quarantine list."""
    store = store_file(prepared, 0)
    store.parent.mkdir(parents=True, exist_ok=True)
    rows, offset = [], 0
    with store.open("wb") as file:
        for row, image in enumerate(images):
            height, width = image.shape[:2]
            rows.append(
                {
                    "image_id": 1000 + row,
                    "source": sources[row] if sources else f"images/{row:04d}.jpg",
                    "sha256": hashlib.sha256(image.tobytes()).hexdigest(),
                    "format": "JPEG",
                    "width": width,
                    "height": height,
                    "split": splits[row],
                    "role": "both",
                    "label": labels[row],
                    "group": groups[row] if groups else 1000 + row,
                    "brightness": float(image.mean()),
                    "sharpness": 10.0,
                    "data_shard": 0,
                    "data_offset": offset,
                    "size_bytes": image.nbytes,
                    "store_shard": 0,
                    "store_offset": offset,
                    "store_width": width,
                    "store_height": height,
                }
            )
            file.write(np.ascontiguousarray(image).tobytes())
            offset += image.nbytes
    write_table(prepared / CATALOG_FILE, pa.Table.from_pylist(rows, CATALOG_SCHEMA))
    write_table(prepared / QUARANTINE_FILE, pa.Table.from_pylist(list(quarantine), QUARANTINE_SCHEMA))
    return prepared


def fake_rounds(count: int, labelled: bool) -> list[dict[str, Any]]:
    """`count` plausible clustering rounds, 30 steps apart; the one before the last is picked."""
    rng = np.random.default_rng(3)
    rounds = []
    for index in range(count):
        done = index / max(count - 1, 1)
        first = index == 0
        sizes = rng.lognormal(2.6 - 0.3 * done, 0.8, 100).astype(int)
        rounds.append(
            {
                "round": index,
                "step": index * 30,
                "clusters": 100,
                "cluster_sizes_histogram": {
                    "edges": _EDGES,
                    "counts": np.histogram(sizes, _EDGES)[0].tolist(),
                },
                "empty": int((sizes == 0).sum()),
                "singletons": int((sizes == 1).sum()),
                "churn": None if first else 0.42 * (1 - done) + 0.06,
                "embedding_std": 0.04,
                "mean_cosine": 0.4 - 0.2 * done,
                "effective_rank": 130 + 60 * done + float(rng.normal(0, 4)),
                "frozen_effective_rank": 150.0,
                "rotation_accuracy": None if first else 0.5 + 0.4 * done**0.5,
                "label_nmi": 0.55 + 0.12 * done if labelled else None,
                "score": 0.62 + 0.3 * done**0.5 - 0.04 * (index == count - 1),
                "score_mrr": 0.7 + 0.2 * done,
                "healthy": True,
                "verdict": "healthy",
                "picked": index == max(count - 2, 0),
                "metric_loss": None if first else 1.1 - 0.4 * done + float(rng.normal(0, 0.03)),
                "rotation_loss": None if first else 1.2 - 0.8 * done**0.5,
                "images_per_second": None if first else 64.0,
            }
        )
    return rounds


def write_trained(
    trained: Path, clusters: np.ndarray, similarity: np.ndarray, rounds: list[dict[str, Any]]
) -> Path:
    """Write clusters.parquet for the first len(clusters) images of `write_prepared`, and rounds.json."""
    trained.mkdir(parents=True, exist_ok=True)
    table = pa.table(
        {
            "image_id": pa.array(1000 + np.arange(len(clusters)), pa.int64()),
            "cluster": pa.array(clusters, pa.int32()),
            "similarity": pa.array(similarity, pa.float32()),
        }
    )
    write_table(trained / "clusters.parquet", table)
    write_json(trained / "rounds.json", rounds)
    return trained


def fake_card(kind: str = "trained") -> ModelCard:
    """A card with every field filled."""
    return ModelCard(
        model_version="0123456789abcdef",
        kind=kind,
        backbone="tf_efficientnet_lite0",
        embedding_dim=512,
        input_px=96,
        crop_share=0.887,
        store_short_side_px=160,
        data_version="fedcba9876543210",
        weights_licence="Apache-2.0",
        protocol="train on classes 0-40",
    )


def fake_evaluation(
    rows: np.ndarray,
    labels: np.ndarray,
    class_names: tuple[str, ...],
    trained: np.ndarray,
    frozen: np.ndarray,
) -> Evaluation:
    """An Evaluation of test images at catalogue `rows`; labels int [n], all -1 for none; unit rows [n, d]."""
    models = [
        _fake_model(rows, labels, embeddings, kind)
        for embeddings, kind in ((trained, "trained"), (frozen, "frozen"))
    ]
    first, second = models
    differences: dict[str, dict[str, Estimate]] = {
        name: {
            metric: paired_bootstrap(second.scores[name].per_query[metric], values, 200, 0)
            for metric, values in scores.per_query.items()
        }
        for name, scores in first.scores.items()
    }
    found = paired_bootstrap(second.found_again, first.found_again, 200, 0)
    differences["label_free"] = {"found_again_at_1": found, "found_again_mrr": found}
    return Evaluation(rows, labels, class_names, first, second, differences)


def _fake_model(rows: np.ndarray, labels: np.ndarray, embeddings: np.ndarray, kind: str) -> ModelEvaluation:
    similarity = embeddings @ embeddings.T
    np.fill_diagonal(similarity, -np.inf)
    nearest = np.argsort(-similarity, axis=1, kind="stable")[:, : min(10, len(rows) - 1)]
    scores, clustering = {}, {}
    query = np.flatnonzero(labels >= 0)
    if len(query):
        hits = labels[nearest[query]] == labels[query][:, None]
        values = {f"recall_at_{k}": hits[:, :k].any(axis=1).astype(np.float64) for k in (1, 2, 4, 8)}
        values["map_at_r"] = values["r_precision"] = hits.mean(axis=1)
        estimates = {name: bootstrap(value, 200, 0) for name, value in values.items()}
        for name in (LEAVE_ONE_OUT, LEAVE_ONE_OUT_DUPLICATES):
            scores[name] = Scores(f"{name}: {len(query)} <test> images", estimates, query, values, 1)
        clustering = {"nmi": 0.61, "ami": 0.52}
    rng = np.random.default_rng(len(kind))
    found = 1 / rng.integers(1, 3 if kind == "trained" else 6, 80)
    none = float("nan")
    label_free = {
        "found_again_at_1": bootstrap(found == 1, 200, 0),
        "found_again_mrr": bootstrap(found, 200, 0),
        **{name: Estimate(value, none, none) for name, value in _FAKE_LABEL_FREE.items()},
    }
    return ModelEvaluation(
        card=fake_card(kind),
        embeddings=embeddings,
        scores=scores,
        clustering=clustering,
        clustering_protocol="k-means, as many clusters as classes",
        label_free=label_free,
        label_free_protocol="80 strong views among all test images",
        found_again=found,
        neighbours=rows[nearest],
        similarities=np.take_along_axis(similarity, nearest, axis=1).astype(np.float32),
    )
