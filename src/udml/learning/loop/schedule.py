"""How long training goes on, and how far down its learning rate is.

A given number of steps is taken as it is. With `train.steps: auto` their number follows from the images and
the clusters, and is looked at again before every round: halfway down, rounds are put in at the same rate
while they pay; where nothing changes any more, and where `train.budget_minutes` are nearly spent, the next
round is the last. Few images are gone through `train.max_passes` times at most, whatever the number is: past
that, training has ended below its start (docs/training.md).

The rate falls along one half cosine in each case, because what is planned is the way down, not the step: a
round that is put in stays where it is on that way, and the last one goes to its end.
To hold the rate until the end is known and to let it fall then costs nothing beside a cosine over as many
steps: Hägele et al., "Scaling Laws and Compute-Optimal Training Beyond Fixed Training Durations" (NeurIPS
2024).

Every decision is kept in its round's record, so that a run that is killed goes on with it, whatever its clock
then says.
"""

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from udml.config import Train

PASSES = 8
"""How often a planned training sees an image. Chosen on left-out training classes (docs/training.md)."""

VISITS = 16  # and how often, at least, a cluster is drawn
LEAST_ROUNDS = 3
MOST_LONGER = 2  # times the planned steps
HALFWAY = 0.5
SETTLED_CHURN = 0.03  # below it nothing changes ...
MOVING_CHURN = 0.1  # ... and above it another round may pay
PLANNED, SETTLED, BUDGET, PASSES_DONE, UNFIT = (
    "planned end", "nothing changed", "budget", "max passes", "unfit"
)  # fmt: skip


@dataclass(frozen=True)
class Leg:
    """The steps from one clustering to the next.

    Attributes:
        first: the step that it begins with.
        until: the step after its last.
        end: where training is to end, as it looks now.
        way_from, way_to: how far down the learning rate is at both ends, 0..1.
        reason: what `end` comes from: PLANNED, SETTLED, BUDGET or PASSES_DONE.
        straight: whether the way is that of a number of steps known from the start.
    """

    first: int
    until: int
    end: int
    way_from: float
    way_to: float
    reason: str = PLANNED
    straight: bool = False

    def angle(self, step: int) -> float:
        """How far along the half cosine the rate of a step is, 0..pi."""
        if self.straight:
            return math.pi * step / self.end
        share = (step - self.first) / (self.until - self.first)
        return math.pi * (self.way_from + (self.way_to - self.way_from) * share)


@dataclass(frozen=True)
class Clock:
    """What `train.budget_minutes` is held against, in seconds.

    Attributes:
        spent: since training began, stretches before a kill included.
        a_step: what one took in the last round; 0 before the first.
        a_clustering: what everything else of a round takes.
    """

    spent: float
    a_step: float
    a_clustering: float


def planned_steps(params: Train, images: int, clusters: int) -> int:
    """Steps that a training is planned for: the number that is set, or whole rounds; at most `most_steps`."""
    return min(_wanted_steps(params, images, clusters), most_steps(params, images))


def most_steps(params: Train, images: int) -> int:
    """Steps in which images are seen `train.max_passes` times, on average."""
    if params.max_passes is None:
        return sys.maxsize
    return max(1, round(params.max_passes * images / _batch(params)))


def _wanted_steps(params: Train, images: int, clusters: int) -> int:
    if isinstance(params.steps, int):
        return params.steps
    wanted = max(PASSES * images / _batch(params), VISITS * clusters / params.clusters_per_batch)
    each = round_steps(params, images)
    return each * max(LEAST_ROUNDS, math.ceil(wanted / each))


def round_steps(params: Train, images: int) -> int:
    """Steps between two clusterings; with `auto` at least one pass over the images, as embedding them is."""
    if isinstance(params.steps, int):
        return params.recluster_every_steps
    return max(params.recluster_every_steps, math.ceil(images / _batch(params)))


def _batch(params: Train) -> int:
    return params.clusters_per_batch * params.images_per_cluster


def leg_of(rounds: Sequence[Mapping[str, Any]]) -> Leg | None:
    """What the latest round decided: the steps that follow it, None if none do."""
    kept = rounds[-1].get("leg") if rounds else None
    return Leg(**kept) if kept else None


def decide(
    params: Train, images: int, clusters: int, rounds: Sequence[Mapping[str, Any]], clock: Clock | None
) -> dict[str, Any]:
    """What follows the latest round, as its record keeps it: a leg, or what ended the training.

    Args:
        params: the `train` section.
        images: n.
        clusters: k.
        rounds: all records so far, the latest without this decision.
        clock: None without a budget.
    """
    leg = _next_leg(params, images, clusters, rounds, clock)
    if leg is not None and rounds[-1]["healthy"]:
        return {"leg": asdict(leg), "planned_end": leg.end}
    before = leg_of(rounds[:-1])
    if not rounds[-1]["healthy"]:
        reason = UNFIT
    elif before is None or rounds[-1]["step"] < before.end:
        reason = BUDGET
    else:
        reason = before.reason
    return {
        "leg": asdict(leg) if leg else None,
        "planned_end": rounds[-1]["step"],
        "ended_by": reason,
        "more_would_pay": more_would_pay(rounds, reason),
    }


def _next_leg(
    params: Train, images: int, clusters: int, rounds: Sequence[Mapping[str, Any]], clock: Clock | None
) -> Leg | None:
    wanted, most = _wanted_steps(params, images, clusters), most_steps(params, images)
    planned, each = min(wanted, most), round_steps(params, images)
    step, before = rounds[-1]["step"], leg_of(rounds[:-1])
    reason = PLANNED if wanted <= most else PASSES_DONE
    leg = Leg(step, step, planned, 0.0, 0.0, reason, isinstance(params.steps, int))
    if before is not None:
        leg = replace(before, first=step, until=step, way_from=before.way_to)
    held = False
    if params.steps == "auto" and before is not None and leg.reason == PLANNED:
        leg, held = _looked_at_again(leg, min(MOST_LONGER * planned, most), each, rounds)
    if clock is not None:
        leg, each = _within(params.budget_minutes, leg, each, params.recluster_every_steps, clock)
        held = held and leg.reason != BUDGET
    if leg.end <= step:
        return None
    until = min(leg.end, step + each)
    down = 0.0 if held else (1 - leg.way_from) * (until - step) / (leg.end - step)
    return replace(leg, until=until, way_to=1.0 if until == leg.end else leg.way_from + down)


def _looked_at_again(
    leg: Leg, latest: int, each: int, rounds: Sequence[Mapping[str, Any]]
) -> tuple[Leg, bool]:
    """The leg with an earlier end or a later one, and whether it stays where it is on the way down.

    `latest` is the last step at which it may end.
    """
    left = leg.end - leg.first
    if left > each and settled(rounds):
        return replace(leg, end=leg.first + each, reason=SETTLED), False
    next_way = leg.way_from + (1 - leg.way_from) * each / left if left else 1.0
    room = leg.end + each <= latest
    if leg.way_from < HALFWAY <= next_way and room and pays(rounds):
        return replace(leg, end=leg.end + each), True
    return leg, False


def _within(minutes: float | None, leg: Leg, each: int, shortest: int, clock: Clock) -> tuple[Leg, int]:
    """The leg with an end that fits the budget, and the steps of a round; the first round tells the speed."""
    if minutes is None:
        return leg, each
    if not clock.a_step:
        return replace(leg, straight=False), min(each, shortest)
    left = 60 * minutes - clock.spent - clock.a_clustering  # the picked model's head is finished at the end
    steps, a_round = leg.end - leg.first, each * clock.a_step + clock.a_clustering
    if steps * clock.a_step + math.ceil(steps / each) * clock.a_clustering <= left:
        return leg, each
    whole = int(left // a_round)
    fit = whole * each if whole > 0 else int((left - clock.a_clustering) // clock.a_step)
    return replace(leg, end=leg.first + max(0, fit), reason=BUDGET, straight=False), each


def settled(rounds: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the last round changed next to nothing: neither clusters nor the figure without labels."""
    last = rounds[-1]
    return last["churn"] is not None and last["churn"] < SETTLED_CHURN and not _risen(rounds[-2], last)


def pays(rounds: Sequence[Mapping[str, Any]]) -> bool:
    """Whether another round at this rate may pay: clusters still move, and the figure has risen."""
    last = rounds[-1]
    return last["churn"] is not None and last["churn"] > MOVING_CHURN and _risen(rounds[-2], last)


def _risen(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether the share of neighbours found again has risen by more than its standard error."""
    return bool(now["score_neighbours"] > before["score_neighbours"] + before["score_neighbours_error"])


def more_would_pay(rounds: Sequence[Mapping[str, Any]], reason: str) -> bool | None:
    """Whether more steps would have paid, as far as can be told; None where that makes no sense.

    At the end the rate is 0 and nothing moves, so it is told from the last clustering before halfway: were
    the clusters still moving then, and has the figure risen since?
    """
    legs = [(one, leg_of([one])) for one in rounds[1:-1]]
    early = [one for one, leg in legs if leg is not None and leg.way_from <= HALFWAY]
    if reason in (UNFIT, SETTLED, PASSES_DONE) or not early:
        return None if reason != SETTLED else False
    return early[-1]["churn"] > MOVING_CHURN and _risen(early[-1], rounds[-1])


def how_it_ended(rounds: Sequence[Mapping[str, Any]]) -> str:
    """What ended a training and whether more would have paid, in words; "" for records of another day."""
    last = rounds[-1] if rounds else {}
    if not last.get("healthy", True):
        return f"Training was stopped at step {last['step']:,}: {last.get('verdict')}."
    step = f"{last.get('step', 0):,}"
    if last.get("ended_by") == PASSES_DONE:
        return (
            f"Training ended at step {step}, when images had been seen train.max_passes times: with so few, "
            "more steps may do harm."
        )
    said = {
        PLANNED: f"Training went to its planned end, step {step}",
        SETTLED: f"Training ended at step {step}, as clusters and neighbours had stopped changing",
        BUDGET: f"train.budget_minutes ended training at step {step}",
    }.get(last.get("ended_by", ""), "")
    if not said:
        return ""
    more = {
        True: "more steps would probably have paid: clusters still moved halfway, and neighbours found again "
        "rose to the end",
        False: "nothing speaks for more steps",
        None: "too few rounds were taken to tell whether more would have paid",
    }
    return f"{said}; {more[last.get('more_would_pay')]}."
