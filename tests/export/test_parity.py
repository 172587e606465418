import numpy as np
import pytest

from tests.fixtures.vectors import unit
from udml.errors import UdmlError
from udml.export.parity import compare, compare_vectors


def random_units(count: int, dim: int = 16, seed: int = 0) -> np.ndarray:
    return unit(np.random.default_rng(seed).normal(size=(count, dim)))


def mean_colours(images: np.ndarray) -> np.ndarray:
    return unit(images.reshape(len(images), -1, 3).mean(axis=1) + 1.0)


def photographs(*sizes: tuple[int, int]) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.integers(0, rng.integers(2, 256, 3), (*size, 3)).astype(np.uint8) for size in sizes]


def test_a_model_agrees_with_itself() -> None:
    images = photographs((8, 8), (8, 8), (5, 9), (8, 8), (9, 5))
    parity = compare(mean_colours, mean_colours, images)
    assert parity.images == 5
    assert parity.sizes == 3
    assert parity.min_cosine == pytest.approx(1.0)
    assert parity.top1_agreement == 1.0
    assert parity.max_abs_difference == 0.0
    assert parity.batch_max_abs_difference < 1e-6
    assert parity.max_norm_error < 1e-6


def test_the_candidate_sees_each_image_alone_and_both_see_whole_batches_of_one_size() -> None:
    seen: dict[str, list[tuple[int, ...]]] = {"reference": [], "candidate": []}

    def noting(name: str, images: np.ndarray) -> np.ndarray:
        seen[name].append(images.shape)
        return mean_colours(images)

    images = photographs(*[(8, 8)] * 40, (5, 9))
    compare(lambda batch: noting("reference", batch), lambda batch: noting("candidate", batch), images)
    assert sorted(shape[0] for shape in seen["reference"]) == [1, 8, 32]  # the image of another size
    assert sorted(shape[0] for shape in seen["candidate"]) == [1] * (41 + 1) + [8, 32]


def test_one_wrong_vector_shows_in_the_lowest_cosine_and_the_neighbours() -> None:
    expected = random_units(50)
    candidate = expected.copy()
    candidate[7] = -expected[7]
    parity = compare_vectors(expected, candidate, candidate, sizes=1)
    assert parity.min_cosine == pytest.approx(-1.0)
    assert parity.top1_agreement == pytest.approx(49 / 50)


def test_a_reference_whose_vectors_depend_on_their_batch_shows() -> None:
    def of_batch(images: np.ndarray) -> np.ndarray:
        return unit(mean_colours(images) - mean_colours(images).mean(axis=0) / 2)

    parity = compare(of_batch, of_batch, photographs(*[(8, 8)] * 6))
    assert parity.min_cosine < 0.999


def test_a_batch_that_differs_from_single_images_shows() -> None:
    expected = random_units(20)
    parity = compare_vectors(expected, expected, np.roll(expected, 1, axis=0), sizes=1)
    assert parity.min_cosine < 0.9
    assert parity.max_abs_difference == 0.0
    assert parity.batch_max_abs_difference > 0.1


def test_agreement_equals_a_slow_count() -> None:
    expected, candidate = random_units(30, 4), unit(random_units(30, 4) + random_units(30, 4, seed=5) / 3)
    same = 0
    for row in range(30):
        others = [other for other in range(30) if other != row]
        nearest = max(others, key=lambda other: expected[row] @ expected[other])
        chosen = max(others, key=lambda other: candidate[row] @ expected[other])
        same += nearest == chosen
    assert 0 < same < 30
    assert compare_vectors(expected, candidate, candidate, 1).top1_agreement == pytest.approx(same / 30)


def test_equally_near_neighbours_count_as_the_same() -> None:
    expected = np.concatenate([random_units(5), random_units(5), random_units(5)])
    nudge = 1e-7 * random_units(15, seed=3)
    parity = compare_vectors(expected, unit(expected + nudge), unit(expected + nudge), 1)
    assert parity.top1_agreement == 1.0


def test_vectors_that_are_not_of_unit_length_show() -> None:
    expected = random_units(10)
    parity = compare_vectors(expected, 2 * expected, 2 * expected, 1)
    assert parity.min_cosine == pytest.approx(1.0)
    assert parity.max_norm_error == pytest.approx(1.0, abs=1e-6)


def test_a_zero_vector_has_no_direction_to_agree_with() -> None:
    expected = random_units(10)
    candidate = expected.copy()
    candidate[0] = 0
    assert compare_vectors(expected, candidate, candidate, 1).min_cosine == 0.0


def test_refuses_what_is_not_a_number() -> None:
    expected = random_units(4)
    broken = expected.copy()
    broken[2, 3] = np.nan
    with pytest.raises(UdmlError, match="NaN"):
        compare_vectors(expected, broken, expected, 1)


def test_refuses_a_single_image() -> None:
    with pytest.raises(UdmlError, match="at least 2"):
        compare(mean_colours, mean_colours, photographs((8, 8)))
