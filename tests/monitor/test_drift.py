from dataclasses import replace

import numpy as np
import pytest

from udml.config import Monitor
from udml.data.statistics import STATISTICS
from udml.monitor.drift import Verdict, compare, one_of_each, tail_shares
from udml.search.reference import Reference

PARAMS = Monitor(alarm_rate=0.05, permutations=199, min_images=10, max_images=50, seed=0)


def sample(count: int, seed: int, towards: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors, pulled towards one direction, and statistics."""
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((count, 30)) + towards * np.eye(30)[0]
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32), rng.standard_normal((count, len(STATISTICS)))


@pytest.fixture
def reference() -> Reference:
    vectors, statistics = sample(80, seed=1)
    return Reference(np.arange(80), vectors, statistics)


def test_more_of_the_same_is_no_drift(reference: Reference) -> None:
    found = compare(reference, *sample(40, seed=2), PARAMS)
    assert found.verdict is Verdict.NO_DRIFT
    assert found.p_value is not None
    assert found.p_value > 0.05
    assert (found.reference_images, found.tested_images) == (80, 40)


def test_other_things_alarm_through_the_embedding(reference: Reference) -> None:
    found = compare(reference, *sample(40, seed=2, towards=2.0), PARAMS)
    assert found.verdict is Verdict.DRIFT
    assert found.embedding_p_value == 1 / 200
    assert found.statistics_p_value is not None
    assert found.statistics_p_value > 0.05


def test_other_pictures_of_the_same_things_alarm_through_the_statistics(reference: Reference) -> None:
    vectors, statistics = sample(40, seed=2)
    statistics[:, STATISTICS.index("sharpness")] -= 2
    found = compare(reference, vectors, statistics, PARAMS)
    assert found.verdict is Verdict.DRIFT
    assert (found.statistics[0].name, found.statistics[0].p_value) == ("sharpness", 1 / 200)
    assert found.statistics[0].new_median < found.statistics[0].reference_median - 1
    assert [one.p_value for one in found.statistics[1:]] == sorted(s.p_value for s in found.statistics[1:])
    assert found.statistics[1].p_value > 0.05
    assert found.embedding_p_value is not None
    assert found.embedding_p_value > 0.05


def test_too_few_images_get_no_verdict(reference: Reference) -> None:
    found = compare(reference, *sample(9, seed=2, towards=9.0), PARAMS)
    assert (found.verdict, found.p_value, found.tested_images) == (Verdict.TOO_FEW, None, 9)
    few = Reference(reference.image_ids[:9], reference.vectors[:9], reference.statistics[:9])
    assert compare(few, *sample(40, seed=2), PARAMS).verdict is Verdict.TOO_FEW


def test_more_than_the_limit_are_sampled_the_same_each_time(reference: Reference) -> None:
    found = compare(reference, *sample(400, seed=2), PARAMS)
    assert found.tested_images == 50
    assert compare(reference, *sample(400, seed=2), PARAMS) == found


def test_the_order_of_the_new_images_does_not_decide(reference: Reference) -> None:
    vectors, statistics = sample(40, seed=2, towards=0.4)
    there = compare(reference, vectors, statistics, PARAMS)
    back = compare(reference, vectors[::-1], statistics[::-1], PARAMS)
    assert there.energy_distance == pytest.approx(back.energy_distance)
    assert there.p_value == pytest.approx(back.p_value, abs=0.1)  # other draws of the same null


def test_tail_shares_are_two_sided() -> None:
    shares = tail_shares(np.array([-1.0, 1.0, 50.0, 100.0, 101.0]), np.arange(1.0, 101.0))
    assert shares.tolist() == [0.0, 0.02, 1.0, 0.02, 0.0]
    assert tail_shares(np.array([3.0]), np.full(9, 3.0)).tolist() == [1.0]


def test_shots_of_one_thing_are_no_evidence_of_drift(reference: Reference) -> None:
    """Five nearly equal vectors of each of 30: 30 are tested, and they look like the others."""
    vectors, statistics = sample(30, seed=2)
    shots = np.repeat(vectors, 5, axis=0) + np.float32(0.01) * sample(150, seed=3)[0]
    shots /= np.linalg.norm(shots, axis=1, keepdims=True)
    params = replace(PARAMS, max_images=80)
    found = compare(reference, shots[:80], np.repeat(statistics, 5, axis=0)[:80], params)
    assert found.tested_images == 16
    assert found.verdict is Verdict.NO_DRIFT
    one_thing = compare(reference, shots[:5].repeat(8, axis=0), statistics[:5].repeat(8, axis=0), params)
    assert (one_thing.verdict, one_thing.tested_images) == (Verdict.TOO_FEW, 1)


def test_one_of_each_keeps_the_first_and_does_not_chain() -> None:
    """Each is like the next one; the first hides the second only, so the third stays."""
    angles = np.radians([0, 20, 40, 60, 200])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    assert one_of_each(vectors, float(np.cos(np.radians(30)))).tolist() == [0, 2, 4]
    assert one_of_each(vectors, 0.999).tolist() == [0, 1, 2, 3, 4]
