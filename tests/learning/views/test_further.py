"""Further fixed views: what they show, how many there are, and what their mean is worth."""

import dataclasses
import functools
from pathlib import Path

import numpy as np
import pytest

from tests.learning.tiny import tiny_data, tiny_fit, tiny_network, tiny_params, weights
from udml.learning.labels.graph import graph_labels
from udml.learning.labels.pseudo_labels import nmi
from udml.learning.loop import fit
from udml.learning.loop.embedding import averaged_over_views, embed
from udml.learning.loop.run import Run, TrainingSet, start_run
from udml.learning.mixing import unit_rows
from udml.learning.views.further import FURTHER_VIEWS, FurtherView, further_view, further_views


def with_further_views(data: TrainingSet) -> TrainingSet:
    shown = [np.stack([further_view(image, way, 32) for image in data.images]) for way in FURTHER_VIEWS]
    return dataclasses.replace(data, further_views=shown)


def a_run(scratch: Path, data: TrainingSet) -> Run:
    params = tiny_params()
    network, mean_std = tiny_network(params)
    return start_run(network, data, params, mean_std, scratch)


@pytest.mark.parametrize(
    ("images", "views"), [(0, 2), (1, 2), (10_000, 2), (10_001, 1), (20_000, 1), (20_001, 0), (10**8, 0)]
)
def test_the_more_images_the_fewer_further_views(images: int, views: int) -> None:
    assert further_views(images) == FURTHER_VIEWS[:views]


@pytest.mark.parametrize("size", [(40, 80), (80, 40), (64, 64)])
def test_a_further_view_is_a_square_part_at_its_place(size: tuple[int, int]) -> None:
    height, width = size
    down, across = np.mgrid[0:height, 0:width]
    image = np.stack([across, down, np.zeros_like(across)], axis=2).astype(np.uint8)
    side = min(size) // 2
    view = further_view(image, FurtherView(0.25, 0.0, 1.0, 0.0, mirrored=False), side)
    assert np.array_equal(view, image[height - side :, :side])
    mirrored = further_view(image, FurtherView(0.25, 0.0, 1.0, 0.0, mirrored=True), side)
    assert np.array_equal(mirrored, view[:, ::-1])
    assert not np.array_equal(
        further_view(image, FurtherView(0.25, 0.0, 1.0, 20.0, mirrored=False), side), view
    )


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (2, 3), (33, 32)])
@pytest.mark.parametrize("way", FURTHER_VIEWS)
def test_any_image_can_be_shown(way: FurtherView, size: tuple[int, int]) -> None:
    view = further_view(np.full((*size, 3), 9, np.uint8), way, 32)
    assert view.shape == (32, 32, 3)
    assert view.dtype == np.uint8


def test_features_are_averaged_over_fixed_and_further_views(tmp_path: Path) -> None:
    run = a_run(tmp_path, with_further_views(tiny_data()))
    parts = [embed(run, views, with_features=True)[0] for views in (run.data.views, *run.data.further_views)]
    kept = parts[0].copy()
    found = averaged_over_views(run, parts[0])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.mean(parts, axis=0), rtol=1e-5, atol=1e-6)
    assert np.array_equal(parts[0], kept)
    without = a_run(tmp_path / "without", tiny_data())
    assert np.array_equal(averaged_over_views(without, kept), kept)


def test_labels_are_made_of_them(tmp_path: Path) -> None:
    """Looks that show other images than the fixed views do decide who is with whom."""
    data = tiny_data()
    shuffled = np.random.default_rng(0).permutation(data.views)
    other = TrainingSet(
        data.images, data.views, data.held_views, data.held_strong_views, data.monitor_labels,
        further_views=[shuffled] * 20,
    )  # fmt: skip
    first = tiny_fit(tmp_path / "fixed", tiny_params(labels="graph"), data)[0]
    second = tiny_fit(tmp_path / "further", tiny_params(labels="graph"), other)[0]
    assert first["label_nmi"] > 0.7
    assert second["label_nmi"] < 0.4
    assert first["score"] == second["score"]  # of the start, which they do not change


def test_classes_that_are_taught_need_no_further_views(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit, "averaged_over_views", lambda *arguments: pytest.fail("for nothing"))
    data = tiny_data()
    taught = TrainingSet(
        data.images, data.views, data.held_views, data.held_strong_views, taught=data.monitor_labels
    )
    tiny_fit(tmp_path, tiny_params(steps=2), taught)
    assert weights(tmp_path)


def test_several_views_tell_kinds_apart_better_than_one(tmp_path: Path) -> None:
    """A picture here is cut out of a larger one anywhere, and neighbours by one cut are so by place."""
    rng = np.random.default_rng(1)
    kinds = np.arange(120) % 6
    patterns = rng.integers(0, 256, (6, 12, 12, 3)).repeat(6, axis=1).repeat(6, axis=2)
    images = [
        np.clip(patterns[k][y : y + 48, x : x + 48] + rng.normal(0, 60, (48, 48, 3)), 0, 255).astype(np.uint8)
        for k, (y, x) in zip(kinds, rng.integers(0, 24, (120, 2)), strict=True)
    ]
    views = np.stack([image[8:40, 8:40] for image in images])
    run = a_run(tmp_path, with_further_views(TrainingSet(images, views, views[:12], views[:12], kinds)))
    one = embed(run, views, with_features=True)[0]
    agreement = functools.partial(nmi, kinds)
    several, alone = (
        agreement(graph_labels(unit_rows(features - features.mean(0)), 6, 0))
        for features in (averaged_over_views(run, one), one)
    )
    assert several > alone
