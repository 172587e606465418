"""How long training goes on: what is planned, what is put in, what ends it, and the rate on the way."""

import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.learning.tiny import tiny_fit, tiny_params
from udml.config import Train
from udml.learning.loop import schedule
from udml.learning.loop.checkpoint import CHECKPOINT_FILE
from udml.learning.loop.schedule import BUDGET, PASSES_DONE, PLANNED, SETTLED, UNFIT, Clock, decide, leg_of

ERROR = 0.01
Signs = Callable[[int], tuple[float, float]]  # of a round's number: churn, and neighbours found again


def moving(number: int) -> tuple[float, float]:
    return 0.2, 0.3 + 0.05 * number


def calming(number: int) -> tuple[float, float]:
    return 0.06, 0.3 + 0.05 * number


def moving_in_vain(number: int) -> tuple[float, float]:
    return 0.2, 0.3


def standing(number: int) -> tuple[float, float]:
    return 0.01, 0.3


def course(
    params: Train, images: int, clusters: int, signs: Signs, a_step: float = 1.0, a_clustering: float = 10.0
) -> tuple[list[dict[str, Any]], list[float]]:
    """The records of a training that is not done, and the learning rate of each of its steps."""
    rounds: list[dict[str, Any]] = []
    rates: list[float] = []
    step, spent = 0, 0.0
    while True:
        churn, score = signs(len(rounds))
        spent += a_clustering
        rounds.append({
            "step": step, "healthy": True, "churn": churn if rounds else None,
            "score_neighbours": score, "score_neighbours_error": ERROR,
        })  # fmt: skip
        clock = Clock(spent, a_step if step else 0.0, a_clustering) if params.budget_minutes else None
        rounds[-1] |= decide(params, images, clusters, rounds, clock)
        leg = leg_of(rounds)
        if leg is None:
            return rounds, rates
        assert leg.first == step < leg.until <= leg.end
        rates += [0.5 * (1 + math.cos(leg.angle(one))) for one in range(leg.first, leg.until)]
        spent += a_step * (leg.until - step)
        step = leg.until


def auto(**changes: Any) -> Train:
    base = {"steps": "auto", "clusters": "auto", "clusters_per_batch": 16, "images_per_cluster": 5,
            "recluster_every_steps": 30, "rotation_images": 16}  # fmt: skip
    return tiny_params(**{**base, **changes})


def test_a_number_of_steps_has_the_cosine_it_always_had_to_the_last_bit() -> None:
    for steps, every in ((180, 30), (240, 30), (7, 2), (100, 33)):
        params = auto(steps=steps, recluster_every_steps=every)
        rounds, rates = course(params, 1000, 40, standing)
        assert [one["step"] for one in rounds] == [*range(0, steps, every), steps]
        assert rates == [0.5 * (1 + math.cos(math.pi * step / steps)) for step in range(steps)]
        assert rounds[-1]["ended_by"] == PLANNED


@pytest.mark.parametrize(
    ("images", "clusters", "planned", "every"),
    [(1_700, 179, 180, 30), (2_900, 116, 296, 37), (300, 16, 90, 30), (600, 200, 210, 30),
     (100_000, 4_000, 10_000, 1_250)],
)  # fmt: skip
def test_steps_follow_from_images_and_clusters(images: int, clusters: int, planned: int, every: int) -> None:
    rounds, rates = course(auto(), images, clusters, calming)
    assert (rounds[0]["planned_end"], rounds[1]["step"]) == (planned, every)
    assert len(rates) == planned
    assert rounds[-1]["ended_by"] == PLANNED


@pytest.mark.parametrize("signs", [moving, calming, moving_in_vain, standing])
@pytest.mark.parametrize("budget", [None, 2, 4, 1_000])
def test_the_rate_falls_to_its_end_whatever_ends_the_training(signs: Signs, budget: float | None) -> None:
    rounds, rates = course(auto(budget_minutes=budget), 3_000, 120, signs)
    assert rates[0] == 1.0
    assert all(later <= earlier for earlier, later in pairwise(rates))
    assert rates[-1] < 0.02
    last_leg = leg_of(rounds[:-1])
    assert last_leg is not None
    assert last_leg.way_to == 1.0


def test_rounds_are_put_in_halfway_while_they_pay_and_not_for_ever() -> None:
    planned = course(auto(), 3_000, 120, calming)[0][-1]["step"]
    rounds, rates = course(auto(), 3_000, 120, moving)
    assert planned < rounds[-1]["step"] <= schedule.MOST_LONGER * planned
    assert (rounds[-1]["ended_by"], rounds[-1]["more_would_pay"]) == (PLANNED, True)
    held = max(set(rates), key=rates.count)
    assert rates.count(held) >= rounds[-1]["step"] - planned
    assert held > 0.5
    for signs in (moving_in_vain, calming):
        found = course(auto(), 3_000, 120, signs)[0][-1]
        assert found["step"] == planned
        assert not found["more_would_pay"]


def test_where_nothing_changes_the_next_round_is_the_last() -> None:
    rounds, _ = course(auto(), 3_000, 120, standing)
    assert [one["step"] for one in rounds] == [0, 38, 76]
    assert (rounds[-1]["ended_by"], rounds[-1]["more_would_pay"]) == (SETTLED, False)
    assert "stopped changing" in schedule.how_it_ended(rounds)


@pytest.mark.parametrize("minutes", [1.5, 3.0, 5.0])
@pytest.mark.parametrize("steps", ["auto", 400])
def test_a_budget_bounds_the_training(minutes: float, steps: int | str) -> None:
    rounds, rates = course(auto(budget_minutes=minutes, steps=steps), 4_000, 160, moving)
    spent = 10.0 * len(rounds) + len(rates) + 10.0  # and the finish
    assert spent <= 60 * minutes
    assert spent > 60 * minutes - 62  # less than a round is left over
    assert rounds[-1]["ended_by"] == BUDGET
    assert f"budget_minutes ended training at step {rounds[-1]['step']}" in schedule.how_it_ended(rounds)


@pytest.mark.parametrize(
    ("images", "steps", "ends"), [(108, 180, 54), (108, 50, 50), (12, 180, 6), (500, 180, 180)]
)
def test_few_images_are_not_gone_through_for_ever(images: int, steps: int, ends: int) -> None:
    rounds, rates = course(auto(steps=steps, max_passes=40), images, 16, moving)
    assert rates == [0.5 * (1 + math.cos(math.pi * step / ends)) for step in range(ends)]
    bound = ends < steps
    assert rounds[-1]["ended_by"] == (PASSES_DONE if bound else PLANNED)
    assert ("train.max_passes" in schedule.how_it_ended(rounds)) == bound
    assert len(course(auto(steps=steps, max_passes=None), images, 16, moving)[1]) == steps


@pytest.mark.parametrize("images", [60, 150, 200, 260])
@pytest.mark.parametrize("budget", [None, 2, 1_000])
def test_found_steps_are_bounded_by_passes_too(images: int, budget: float | None) -> None:
    params = auto(max_passes=40, budget_minutes=budget)
    rounds, rates = course(params, images, 16, moving)
    assert len(rates) <= 40 * images / 80
    last_leg = leg_of(rounds[:-1])
    assert last_leg is not None
    assert last_leg.way_to == 1.0
    assert len(rates) < len(course(auto(max_passes=None), images, 16, moving)[1])


def test_a_budget_that_suffices_changes_nothing_but_the_first_round() -> None:
    rounds, rates = course(auto(budget_minutes=10_000, steps=180), 1_000, 40, moving)
    expected = [0.5 * (1 + math.cos(math.pi * step / 180)) for step in range(180)]
    assert rates == pytest.approx(expected, abs=1e-12)
    assert rounds[-1]["ended_by"] == PLANNED


def test_a_round_that_is_unfit_says_so() -> None:
    first = {
        "step": 0,
        "healthy": True,
        "churn": None,
        "score_neighbours": 0.3,
        "score_neighbours_error": 0.1,
    }
    first |= decide(auto(), 1_000, 40, [first], None)
    bad = {**first, "step": 30, "healthy": False, "verdict": "the embeddings collapsed", "churn": 0.1}
    bad |= decide(auto(), 1_000, 40, [first, bad], None)
    assert (bad["ended_by"], bad["more_would_pay"]) == (UNFIT, None)
    assert schedule.how_it_ended([first, bad]) == "Training was stopped at step 30: the embeddings collapsed."


def test_records_of_another_day_say_nothing() -> None:
    assert schedule.how_it_ended([]) == schedule.how_it_ended([{"step": 30}]) == ""


class KilledError(Exception):
    pass


@pytest.mark.parametrize("budget_minutes", [None, 1e6])
def test_a_killed_run_that_finds_its_length_resumes_to_the_same_bits(
    budget_minutes: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "PASSES", 2)
    monkeypatch.setattr(schedule, "VISITS", 1)
    params = tiny_params(steps="auto", images_per_cluster=8, budget_minutes=budget_minutes)

    def killed(record: dict[str, Any]) -> None:
        if record["step"] == 4:
            raise KilledError

    with pytest.raises(KilledError):
        tiny_fit(tmp_path / "killed", params, on_round=killed)
    ends = [tiny_fit(tmp_path / name, params)[-1] for name in ("killed", "whole")]
    assert ends[0]["step"] == ends[1]["step"] >= 6
    assert ends[0]["ended_by"] == ends[1]["ended_by"] in (PLANNED, SETTLED)
    first, second = (load_file(tmp_path / name / CHECKPOINT_FILE) for name in ("killed", "whole"))
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


def test_a_budget_that_is_spent_ends_training_after_its_first_round(tmp_path: Path) -> None:
    params = tiny_params(steps="auto", budget_minutes=1e-9)
    rounds = tiny_fit(tmp_path, params)
    assert [one["step"] for one in rounds] == [0, 2]
    again = tiny_fit(tmp_path, params)  # as one that was killed before it had written its end
    assert again[-1]["ended_by"] == rounds[-1]["ended_by"] == BUDGET
