"""Several views of an image, averaged: how many, of which, the same again, and by whom they are asked for."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from tests.learning.tiny import tiny_data, tiny_fit, tiny_network, tiny_params
from udml.learning.labels.pseudo_labels import nmi
from udml.learning.loop import averaging, clustering, fit
from udml.learning.loop.averaging import averaged_features, views_of_each
from udml.learning.loop.drawing import DrawnViews
from udml.learning.loop.embedding import embed
from udml.learning.loop.feature_bank import FeatureBank, OneView, fill_bank
from udml.learning.loop.run import Run, TrainingSet, start_run


def a_run(scratch: Path, data: TrainingSet | None = None) -> Run:
    params = tiny_params()
    network, mean_std = tiny_network(params)
    return start_run(network, data or tiny_data(), params, mean_std, scratch)


def of_fixed_views(run: Run) -> np.ndarray:
    return embed(run, run.data.views, with_features=True)[0]


@pytest.mark.parametrize(
    ("images", "views"),
    [(0, 4), (1, 4), (5_000, 4), (5_001, 3), (10_000, 2), (20_000, 1), (20_001, 0), (10**7, 0)],
)
def test_the_more_images_the_fewer_views(images: int, views: int) -> None:
    assert views_of_each(images) == views


def test_it_is_the_mean_over_the_fixed_view_and_the_drawn_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = a_run(tmp_path)
    fixed = of_fixed_views(run)
    drawn: list[np.ndarray] = []

    def watched(
        run: Run, views: DrawnViews, *rest: str, with_features: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        found = embed(run, views, *rest, with_features=with_features)
        drawn.append(found[0])
        return found

    monkeypatch.setattr(averaging, "embed", watched)
    kept = fixed.copy()
    found = averaged_features(run, fixed)
    assert len(drawn) == 4
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.mean([fixed, *drawn], axis=0), rtol=1e-5, atol=1e-6)
    assert np.array_equal(fixed, kept)
    assert all(not np.allclose(one, fixed) for one in drawn)
    assert len({one.tobytes() for one in drawn}) == 4


def test_it_is_a_function_of_the_step(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    fixed = of_fixed_views(run)
    at_first = averaged_features(run, fixed)
    assert np.array_equal(at_first, averaged_features(run, fixed))
    run.state.step = 30
    assert not np.allclose(at_first, averaged_features(run, fixed))


def test_parts_of_the_drawn_views_are_those_of_the_whole(tmp_path: Path) -> None:
    """So that processes, which take turns, and batches of any size see the same ones."""
    run = a_run(tmp_path)
    views = DrawnViews(run, averaging._VARIATION, [1, 2])
    whole = views[0 : len(views)]
    assert whole.shape == (60, 32, 32, 3)
    assert whole.dtype == torch.uint8
    assert torch.equal(whole[20:45], views[20:45])
    assert torch.equal(whole[50:], views[50:90])


def test_where_there_are_too_many_images_the_fixed_view_is_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(averaging, "VIEWS_A_ROUND", 59)
    run = a_run(tmp_path)
    fixed = of_fixed_views(run)
    assert np.array_equal(averaged_features(run, fixed), fixed)


def test_a_feature_bank_has_its_views_already(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def views_of(row: int) -> np.ndarray:
        return np.random.default_rng(row).integers(1, 256, (5, 2, 2, 3), np.uint8)

    def features_of(views: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(views.reshape(len(views), -1).astype(np.float32))

    bank: FeatureBank = fill_bank(
        tmp_path / "bank", (60, 5, 12), views_of, features_of, Accelerator(cpu=True)
    )
    run = a_run(tmp_path, dataclasses.replace(tiny_data(), bank=bank, views=OneView(bank, 0)))
    monkeypatch.setattr(averaging, "embed", lambda *arguments, **named: pytest.fail("a pass"))
    expected = np.stack([views_of(row).reshape(5, -1).mean(0) for row in range(60)])
    np.testing.assert_allclose(averaged_features(run, OneView(bank, 0)[:]), expected, rtol=2e-3)


def test_several_views_tell_kinds_apart_better_than_one(tmp_path: Path) -> None:
    """A picture here is cut out of a larger one anywhere, and neighbours by one cut are so by place."""
    rng = np.random.default_rng(1)
    kinds = np.arange(120) % 6
    patterns = rng.integers(0, 256, (6, 12, 12, 3)).repeat(6, axis=1).repeat(6, axis=2)
    where = rng.integers(0, 24, (120, 2))
    images = [
        np.clip(patterns[k][y : y + 48, x : x + 48] + rng.normal(0, 60, (48, 48, 3)), 0, 255).astype(np.uint8)
        for k, (y, x) in zip(kinds, where, strict=True)
    ]
    views = np.stack([image[8:40, 8:40] for image in images])
    run = a_run(tmp_path, TrainingSet(images, views, views[:12], views[:12], kinds))
    one = of_fixed_views(run)
    several = averaged_features(run, one)

    def agreement(features: np.ndarray) -> float:
        vectors = fit.unit_rows(features - features.mean(0))
        return nmi(kinds, clustering.graph_labels(vectors, 6, 0))

    assert agreement(several) > agreement(one)


@pytest.mark.parametrize(("labels", "asked"), [("graph", 4), ("kmeans", 0)])
def test_labels_along_the_graph_ask_for_it_every_round_and_k_means_never(
    labels: str, asked: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[int] = []

    def watched(run: Run, fixed: np.ndarray) -> np.ndarray:
        steps.append(run.state.step)
        return averaged_features(run, fixed)

    monkeypatch.setattr(fit, "averaged_features", watched)
    tiny_fit(tmp_path, tiny_params(labels=labels))
    assert steps == [0, 2, 4, 6][:asked]


def test_classes_that_are_taught_need_no_views(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "averaged_features", lambda *arguments: pytest.fail("views for nothing"))
    data = tiny_data()
    tiny_fit(tmp_path, tiny_params(steps=2), dataclasses.replace(data, taught=data.monitor_labels))
