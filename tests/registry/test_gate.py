import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from udml.config import Retrain
from udml.errors import UdmlError
from udml.evaluation.intervals import Estimate, paired_bootstrap
from udml.registry.gate import Measured, decide

PARAMS = Retrain("news", "map_at_r", "found_again_mrr", min_gain_over_frozen=0.0, max_loss_to_champion=0.02)


def measured(value: float, low: float, high: float, opponent: str = "champion v1") -> Measured:
    return Measured(opponent, "map_at_r", 0.5 + value, 0.5, Estimate(value, low, high))


WINS = measured(0.09, 0.08, 0.10, "the frozen backbone")


def test_the_first_version_only_has_to_beat_the_frozen_backbone() -> None:
    decision = decide(WINS, None, "", PARAMS)
    assert decision.promote
    assert decision.reason == (
        "promoted: MAP@R is 59.0 %, the frozen backbone has 50.0 % (+9.0 points, 95 % interval +8.0 to +10.0)"
    )
    refused = decide(measured(0.01, 0.0, 0.02, "the frozen backbone"), None, "", PARAMS)
    assert not refused.promote
    assert "all of it must lie above +0.0" in refused.reason


@pytest.mark.parametrize(
    ("against_champion", "promote"),
    [
        (measured(0.0, 0.0, 0.0), True),  # the same model again
        (measured(-0.01, -0.02, 0.0), True),  # worse, within the tolerance
        (measured(-0.01, -0.0201, 0.0), False),  # perhaps too much worse
        (measured(0.01, -0.03, 0.05), False),  # too few queries to tell
        (measured(-0.1, -0.11, -0.09), False),
    ],
)
def test_it_may_lose_no_more_than_the_tolerance_to_the_champion(
    against_champion: Measured, promote: bool
) -> None:
    decision = decide(WINS, against_champion, "", PARAMS)
    assert decision.promote == promote
    assert [rule.met for rule in decision.rules] == [True, promote]
    assert ("a loss of 2.0 points is tolerated" in decision.reason) != promote


def test_no_tolerance_at_all_still_lets_an_equal_pass() -> None:
    params = Retrain("news", "map_at_r", "found_again_mrr", 0.0, 0.0)
    assert decide(WINS, measured(0.0, 0.0, 0.0), "", params).promote


def test_what_speaks_against_it_is_said_first() -> None:
    reason = decide(WINS, measured(-0.1, -0.11, -0.09), "", PARAMS).reason
    assert reason.startswith("refused: MAP@R is 40.0 %, champion v1 has 50.0 %")


def test_a_collapsed_embedding_is_refused_whatever_its_score() -> None:
    decision = decide(WINS, measured(0.2, 0.1, 0.3), "the embeddings collapsed: ...", PARAMS)
    assert not decision.promote
    assert decision.reason.startswith("refused: the embeddings collapsed")


def test_a_decision_can_be_logged() -> None:
    decision = decide(WINS, measured(0.0, 0.0, 0.0), "", PARAMS)
    assert json.loads(json.dumps(asdict(decision), allow_nan=False))["rules"][0]["least"] == 0.0


@given(
    st.integers(2, 40), st.floats(-0.3, 0.3), st.floats(0, 0.2), st.floats(0, 0.2), st.integers(0, 2**31 - 1)
)
def test_rules_are_those_of_the_paired_bootstrap(
    queries: int, gain: float, tolerance: float, harder: float, seed: int
) -> None:
    """Raising the tolerance never turns a promotion into a refusal; the verdict follows the interval."""
    rng = np.random.default_rng(seed)
    old = rng.uniform(0, 1, queries)
    new = np.clip(old + gain + rng.normal(0, 0.1, queries), 0, 1)
    difference = paired_bootstrap(old, new, 100, seed)
    against = Measured("champion v1", "map_at_r", float(new.mean()), float(old.mean()), difference)
    strict, loose = (
        decide(WINS, against, "", Retrain("news", "map_at_r", "found_again_mrr", 0.0, loss)).promote
        for loss in (tolerance, min(1.0, tolerance + harder))
    )
    assert strict == (difference.low >= -tolerance)
    assert loose or not strict


@pytest.mark.parametrize(("key", "value"), [("metric", "nmi"), ("max_loss_to_champion", 2.0)])
def test_thresholds_that_make_no_sense_are_refused(key: str, value: object) -> None:
    with pytest.raises(UdmlError, match=f"retrain.{key}"):
        Retrain(**(asdict(PARAMS) | {key: value}))


def test_the_whitened_backbone_itself_has_nothing_to_gain_over_itself() -> None:
    same = measured(0.0, 0.0, 0.0, "the frozen backbone, whitened,")
    assert not decide(same, None, "", PARAMS).promote
    decision = decide(same, None, "", PARAMS, untrained=True)
    assert decision.promote
    assert "no trained checkpoint beat the frozen backbone, whitened" in decision.reason
    worse_than_champion = measured(-0.1, -0.11, -0.09)
    assert not decide(same, worse_than_champion, "", PARAMS, untrained=True).promote
