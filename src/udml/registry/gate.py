"""Whether a challenger may serve: numbers in, a decision with its reason out. No files.

Two opponents are beaten by the same means, the paired bootstrap over queries: the frozen backbone, which
the challenger must beat, and the champion, to whom it may lose no more than a tolerance. "By paired
bootstrap" means that the whole 95 % interval of the difference must lie where it should: a difference
that the test images are too few to tell from a loss does not pass.
"""

from dataclasses import dataclass

from udml.config import Retrain
from udml.evaluation.intervals import Estimate

DIFFERENCE = "challenger - champion, points"  # a column of the table that people see
TITLES = {
    "map_at_r": "MAP@R",
    "r_precision": "R-precision",
    "recall_at_1": "Recall@1",
    "neighbours_found_again": "neighbours found again",
    "found_again_at_1": "found again",
    "found_again_mrr": "found again (MRR)",
    "precision_at_5": "precision at 5, as people judged it,",
}


@dataclass(frozen=True)
class Measured:
    """Challenger and opponent on the same queries.

    Attributes:
        opponent: in words: "the frozen backbone", "champion v2".
        metric: a key of `TITLES`.
        challenger, other: the figure of each, 0..1.
        difference: challenger minus opponent with its paired 95 % interval.
    """

    opponent: str
    metric: str
    challenger: float
    other: float
    difference: Estimate


@dataclass(frozen=True)
class Rule:
    """One rule of the gate, and whether the challenger meets it.

    Attributes:
        measured: what it looked at.
        least: what the lower end of the difference's interval must exceed (a gain) or at least reach
            (minus a tolerance).
        met: whether it does.
        sentence: all of that in words.
    """

    measured: Measured
    least: float
    met: bool
    sentence: str


@dataclass(frozen=True)
class Decision:
    """What the gate says.

    Attributes:
        promote: whether the challenger may serve.
        reason: one sentence with the numbers, for a person.
        rules: the rules that were asked, in order.
        collapsed: why the embedding is unfit whatever its score, or "".
    """

    promote: bool
    reason: str
    rules: tuple[Rule, ...]
    collapsed: str


def decide(
    frozen: Measured, champion: Measured | None, collapsed: str, params: Retrain, untrained: bool = False
) -> Decision:
    """Judge a challenger.

    Args:
        frozen: challenger against the frozen backbone.
        champion: challenger against the present champion; None for the first version.
        collapsed: why its embedding is unfit (`udml.learning.selection.judge`), or "".
        params: the thresholds.
        untrained: it is the whitened backbone itself, which has nothing to gain over itself.
    """
    rules = [_itself(frozen) if untrained else _gain_rule(frozen, params.min_gain_over_frozen)]
    if champion is not None:
        rules.append(_loss_rule(champion, params.max_loss_to_champion))
    promote = not collapsed and all(rule.met for rule in rules)
    # what speaks against it comes first
    ordered = sorted(rules, key=lambda rule: rule.met)
    said = [*([collapsed] if collapsed else []), *(rule.sentence for rule in ordered)]
    reason = f"{'promoted' if promote else 'refused'}: {'; '.join(said)}"
    return Decision(promote, reason, tuple(rules), collapsed)


def _itself(measured: Measured) -> Rule:
    said = "no trained checkpoint beat the frozen backbone, whitened, so it is that itself"
    return Rule(measured, 0.0, True, said)


def _gain_rule(measured: Measured, gain: float) -> Rule:
    met = measured.difference.low > gain
    return Rule(measured, gain, met, _sentence(measured, met, f"all of it must lie above {_points(gain)}"))


def _loss_rule(measured: Measured, tolerance: float) -> Rule:
    met = measured.difference.low >= -tolerance
    wanted = f"a loss of {100 * tolerance:.1f} points is tolerated"
    return Rule(measured, -tolerance, met, _sentence(measured, met, wanted))


def _sentence(measured: Measured, met: bool, wanted: str) -> str:
    difference = measured.difference
    return (
        f"{TITLES[measured.metric]} is {100 * measured.challenger:.1f} %, {measured.opponent} has "
        f"{100 * measured.other:.1f} % ({_points(difference.value)} points, 95 % interval "
        f"{_points(difference.low)} to {_points(difference.high)}{'' if met else '; ' + wanted})"
    )


def _points(share: float) -> str:
    return f"{100 * share:+.1f}"
