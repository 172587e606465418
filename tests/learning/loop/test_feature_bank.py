"""Features of fixed views, computed once: killed and resumed, read through files, exact enough."""

from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from tests.learning.tiny import tiny_data, tiny_params
from udml.learning.loop.feature_bank import PICTURES_AT_ONCE, FeatureBank, OneView, fill_bank, views_of_image

SHAPE = (50, 5, 7)


class KilledError(Exception):
    """Stands for a kill in the middle of a pass."""


def views_of(row: int) -> np.ndarray:
    return np.random.default_rng(row).integers(0, 256, (5, 4, 4, 3), np.uint8)


def features_of(views: np.ndarray) -> torch.Tensor:
    flat = torch.from_numpy(views.reshape(len(views), -1)[:, :7].astype(np.float32))
    return flat * 10.0 ** (flat[:, :1] % 9 - 3)  # lengths that float16 could not hold


def filled(path: Path, dies_after: int = 10**9) -> tuple[FeatureBank, int]:
    """The bank, and how many pictures went through for it."""
    seen = 0

    def counted(views: np.ndarray) -> torch.Tensor:
        nonlocal seen
        if seen >= dies_after:
            raise KilledError
        seen += len(views)
        return features_of(views)

    return fill_bank(path, SHAPE, views_of, counted, Accelerator(cpu=True)), seen


def test_directions_and_lengths_come_back(tmp_path: Path) -> None:
    bank, seen = filled(tmp_path / "bank")
    assert seen == 250
    rows, views = np.repeat(np.arange(50), 5), np.tile(np.arange(5), 50)
    expected = features_of(np.concatenate([views_of(row) for row in range(50)])).numpy()
    found = bank.take(rows, views)
    cosines = (found * expected).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(expected, axis=1)
    assert cosines.min() > 1 - 1e-6
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), np.linalg.norm(expected, axis=1), rtol=1e-3)
    np.testing.assert_array_equal(OneView(bank, 2)[3:6], bank.take(np.arange(3, 6), np.full(3, 2)))
    assert len(OneView(bank, 2)) == 50
    assert isinstance(bank.direction, np.memmap)


@pytest.mark.parametrize("dies_after", [0, PICTURES_AT_ONCE, 3 * PICTURES_AT_ONCE])
def test_a_killed_pass_goes_on_where_it_was(
    dies_after: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(KilledError):
        filled(tmp_path / "killed", dies_after)
    bank, seen = filled(tmp_path / "killed")
    assert seen == 250 - dies_after
    said = f"going on at image {dies_after // 5} of 50\n" if dies_after else ""
    assert capsys.readouterr().out == said
    whole, _ = filled(tmp_path / "whole")
    assert np.array_equal(bank.direction, whole.direction)
    assert np.array_equal(bank.length, whole.length)
    assert filled(tmp_path / "killed")[1] == 0  # nothing is left to do


def test_views_are_the_fixed_one_and_drawn_ones_by_seed_and_row() -> None:
    data, params = tiny_data(), tiny_params()
    views = views_of_image(data.images[3], data.views[3], params, 3)
    assert views.shape == (5, 32, 32, 3)
    assert np.array_equal(views[0], data.views[3])
    assert np.array_equal(views, views_of_image(data.images[3], data.views[3], params, 3))
    assert not np.array_equal(views[1:], views_of_image(data.images[3], data.views[3], params, 4)[1:])
    assert len({view.tobytes() for view in views}) == 5
