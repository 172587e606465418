from dataclasses import replace

import numpy as np
import pytest

from tests.judgement.known import Known, judge, known
from udml.evaluation.intervals import Estimate
from udml.judgement.estimate import LEAST, Judged, answers_to_come, estimate, threshold
from udml.judgement.pairs import lot, pool, sizes
from udml.judgement.results import results

JUDGES = 1000


@pytest.fixture(scope="module")
def three() -> Known:
    return known()


def judged(given: Known, *how: float, **more: float) -> Judged:
    found = judge(given, *how, **more)  # type: ignore[arg-type]
    assert found is not None
    return found


def test_weights_of_all_pairs_give_the_precision_that_counting_gives(three: Known) -> None:
    assert three.pairs.weights.sum(axis=2) == pytest.approx(1.0)
    assert three.pairs.weights @ three.same == pytest.approx(three.truth)


def test_a_pair_is_one_question_whoever_asks_and_whoever_finds_it(three: Known) -> None:
    assert len(set(three.pairs.keys)) == len(three.pairs)
    assert all(a < b for a, b in three.pairs.keys)
    assert lot("a", "b") == lot("b", "a")
    # pooled: less than the three models' results together
    assert len(three.pairs) < 0.8 * 3 * 5 * 600


def test_equal_files_are_one_picture() -> None:
    vectors = np.eye(4, dtype=np.float32)[[0, 0, 1, 1]] * 0.8 + 0.3
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = results(vectors, np.array([0, 0, 2, 3]), np.arange(4), refined=False)
    assert found[0].tolist()[:2] == [2, 3]  # its copy is no result
    assert (found[:, 3:] == -1).all()
    pairs = pool([found], [vectors], ["aa", "aa", "bb", "cc"])
    assert list(pairs.keys) == [("aa", "bb"), ("aa", "cc"), ("bb", "cc")]
    assert pairs.weights.sum(axis=2) == pytest.approx(1.0)


def test_pairs_on_which_models_differ_come_first(three: Known) -> None:
    size, weights = three.pairs.size, three.pairs.weights
    differ = (np.ptp(weights, axis=0) > 0).any(axis=0)
    assert 0.2 < differ.mean() < 0.99
    assert (size > 0).all()
    assert size[differ].mean() > 2 * size[~differ].mean()
    alone = sizes(three.pairs.weights[:1])
    assert (alone[weights[0, 1] > 0] > 0).all()


def test_all_pairs_judged_leave_nothing_to_chance(three: Known) -> None:
    everything = np.ones(len(three.pairs), bool)
    found = estimate(three.pairs, everything, three.same)
    assert found is not None
    for model, estimates in enumerate(found.precision):
        for one, truth in zip(estimates, three.truth[model], strict=True):
            assert (one.low, one.high) == (one.value, one.value)
            assert one.value == pytest.approx(truth)
    assert set(found.more.values()) == {0}


@pytest.mark.parametrize("answers", [60, 150])
def test_intervals_hold_the_truth_as_often_as_they_say(three: Known, answers: int) -> None:
    """1,000 judges: within 95 +- 2 %, and 1.4 % for the chance of 1,000 of them; no bias worth a name."""
    held = np.zeros((6, 2))
    off = np.zeros((3, 2))
    both = [(a, b) for b in range(3) for a in range(b)]
    for seed in range(JUDGES):
        found = judged(three, answers, seed)
        for depth in (0, 1):
            values = [found.precision[model][depth] for model in range(3)]
            truths = list(three.truth[:, depth])
            off[:, depth] += [one.value for one in values] - three.truth[:, depth]
            values += [found.differences[pair][depth] for pair in both]
            truths += [three.truth[b, depth] - three.truth[a, depth] for a, b in both]
            held[:, depth] += [v.low <= t <= v.high for v, t in zip(values, truths, strict=True)]
    shares = held / JUDGES
    assert shares.min() >= 0.93 - 0.014, shares
    assert 0.93 <= shares.mean() <= 0.97, shares
    assert np.abs(off / JUDGES).max() < 0.012


def test_a_judge_who_errs_blurs_the_difference_and_lowers_the_level(three: Known) -> None:
    """As docs/judging.md says: of 5 % errors a difference keeps 90 %, a precision p becomes 0.05 + 0.9 p."""
    truth = three.truth[2, 1] - three.truth[0, 1]
    found = [judged(three, 100, seed, errs=0.05) for seed in range(JUDGES)]
    level = np.mean([one.precision[2][1].value for one in found])
    assert level == pytest.approx(0.05 + 0.9 * three.truth[2, 1], abs=0.01)
    differences = [one.differences[0, 2][1] for one in found]
    assert np.mean([one.value for one in differences]) == pytest.approx(0.9 * truth, abs=0.01)
    # too little to be seen beside the width of the interval
    assert 0.916 < np.mean([one.low <= truth <= one.high for one in differences]) < 0.984


def test_who_cannot_say_is_left_out_and_counted(three: Known) -> None:
    found = [judged(three, 300, seed, unsure=0.2) for seed in range(100)]
    assert np.mean([one.unsure for one in found]) == pytest.approx(60, abs=5)
    assert all(one.answers == 300 for one in found)
    values = [one.precision[2][1].value for one in found]
    assert np.mean(values) == pytest.approx(three.truth[2, 1], abs=0.02)


def test_answers_behind_the_first_open_pair_wait(three: Known) -> None:
    order = np.argsort(three.pairs.turn)
    asked = np.zeros(len(order), bool)
    asked[order[:100]] = True
    before = estimate(three.pairs, asked, np.where(asked, three.same, np.nan))
    assert threshold(three.pairs, asked) == three.pairs.turn[order[100]]
    asked[order[105:200]] = True  # given elsewhere
    assert estimate(three.pairs, asked, np.where(asked, three.same, np.nan)) == before
    asked[order[100:105]] = True
    after = estimate(three.pairs, asked, np.where(asked, three.same, np.nan))
    assert after is not None
    assert after.answers == 200


def test_a_new_challenger_needs_only_what_nobody_has_judged() -> None:
    """Of the pairs that are asked first of two models, most were asked when others were compared."""
    both, three = known(models=2), known(models=3)
    keys = {three.pairs.keys[at] for at in np.argsort(three.pairs.turn)[:300]}
    asked = [both.pairs.keys[at] in keys for at in np.argsort(both.pairs.turn)[:100]]
    assert np.mean(asked) > 0.5


def test_few_answers_say_nothing(three: Known) -> None:
    assert judge(three, LEAST - 1, 0) is None
    found = judged(three, LEAST, 0)
    assert all(one.high - one.low > 0.1 for one in found.precision[0])


def test_equal_models_are_not_told_apart(three: Known) -> None:
    weights = three.pairs.weights[[2, 2]]
    twice = replace(
        three.pairs, weights=weights, closeness=three.pairs.closeness[[2, 2]], size=sizes(weights) + 1e-9
    )
    asked = np.argsort(np.argsort(twice.turn)) < 100
    found = estimate(twice, asked, np.where(asked, three.same, np.nan))
    assert found is not None
    assert found.differences[0, 1][1] == Estimate(0.0, 0.0, 0.0)
    assert found.more[0, 1] is None


def test_how_many_more_answers_follows_from_the_interval() -> None:
    assert answers_to_come(Estimate(0.1, 0.02, 0.18), 100, 10_000) == 0
    few, many = (answers_to_come(Estimate(v, v - 0.1, v + 0.1), 100, 10_000) for v in (0.09, 0.04))
    assert few is not None
    assert many is not None
    assert 0 < few < many < 2000
    assert answers_to_come(Estimate(0.001, -0.1, 0.1), 100, 10**6) is None


def test_four_of_five_are_told_apart_by_the_answers_foreseen(three: Known) -> None:
    """Set out from the truth: as many answers as foreseen tell two models apart in about 80 % of cases."""
    truth = three.truth[1, 1] - three.truth[0, 1]
    half = np.mean([(d := judged(three, 60, s).differences[0, 1][1]).high - d.low for s in range(50)]) / 2
    more = answers_to_come(Estimate(truth, truth - half, truth + half), 60, len(three.pairs))
    assert more
    told = [judged(three, 60 + more, s).differences[0, 1][1].low > 0 for s in range(150)]
    assert 0.65 < np.mean(told) < 0.95
