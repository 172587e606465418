"""Training on what the graph of neighbours makes: resumed, logged, and with what people said."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from tests.learning.tiny import (
    assert_identical,
    killed_at,
    tiny_data,
    tiny_fit,
    tiny_params,
    weights,
    without_timing,
)
from udml.errors import UdmlError
from udml.learning.labels.graph import graph_labels
from udml.learning.labels.judged import Links
from udml.learning.labels.pseudo_labels import cluster_health, given_clusters
from udml.learning.loop import clustering
from udml.learning.loop.checkpoint import BEST_FILE, CHECKPOINT_FILE, SHIPPED_FILE


def kept_assignment(scratch: Path) -> np.ndarray:
    found = weights(scratch)
    return next(value for name, value in found.items() if "assignment" in name).numpy()


@pytest.mark.parametrize("labels", ["graph", "kmeans"])
@pytest.mark.parametrize("dies_at", [1, 3])
def test_a_killed_run_resumes_to_the_same_bits(dies_at: int, labels: str, tmp_path: Path) -> None:
    params = tiny_params(labels=labels)
    whole = tiny_fit(tmp_path / "whole", params)
    with killed_at(dies_at):
        tiny_fit(tmp_path / "killed", params)
    assert without_timing(tiny_fit(tmp_path / "killed", params)) == without_timing(whole)
    for name in (CHECKPOINT_FILE, BEST_FILE, SHIPPED_FILE):
        assert_identical(weights(tmp_path / "killed", name), weights(tmp_path / "whole", name))


def test_every_round_is_labelled_by_the_graph_and_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def watched(vectors: np.ndarray, clusters: int, seed: int) -> np.ndarray:
        asked.append(clusters)
        return graph_labels(vectors, clusters, seed)

    monkeypatch.setattr(clustering, "graph_labels", watched)
    rounds = tiny_fit(tmp_path, tiny_params(labels="graph"))
    assert asked == [rounds[0]["clusters"]] * len(rounds)
    for one in rounds:
        assert one["largest_share"] == pytest.approx(one["largest"] / one["images"])
        assert 0 <= one["share_left_out"] < 1
        assert one["clusters"] == sum(one["cluster_sizes_histogram"]["counts"])
    asked.clear()
    tiny_fit(tmp_path / "by-k-means", tiny_params(labels="kmeans"))
    assert asked == []


def test_what_people_said_moves_images_of_the_graph_too(tmp_path: Path) -> None:
    must, cannot = np.array([[0, 6], [1, 2]]), np.array([[3, 9]])
    data = dataclasses.replace(tiny_data(), links=Links(must, cannot))
    tiny_fit(tmp_path, tiny_params(labels="graph", steps=2), data)
    assignment = kept_assignment(tmp_path)
    assert assignment[0] == assignment[6]
    assert assignment[1] == assignment[2]
    assert assignment[3] != assignment[9]


def test_proxies_go_where_the_graph_puts_clusters(tmp_path: Path) -> None:
    rounds = tiny_fit(tmp_path, tiny_params(labels="graph", loss="proxy_anchor"))
    assert all(one["healthy"] for one in rounds)


def test_what_is_in_too_small_clusters_is_counted_as_left_out() -> None:
    found = given_clusters(np.eye(6, dtype=np.float32), np.array([0, 0, 0, 1, 1, 2]), 3)
    for least, left in ((1, 0), (2, 1), (3, 3), (4, 6)):
        health = cluster_health(found, np.eye(6, dtype=np.float32), least, 0)
        assert health["share_left_out"] == pytest.approx(left / 6)
        assert health["largest_share"] == pytest.approx(0.5)


def test_other_names_are_refused() -> None:
    with pytest.raises(UdmlError, match=r"train\.labels"):
        tiny_params(labels="ward")
