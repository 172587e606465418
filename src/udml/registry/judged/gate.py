"""Where people's judgements decide at the gate: as soon as they leave no doubt, before any other figure."""

from udml.evaluation.intervals import Estimate
from udml.judgement.pairs import DEPTHS
from udml.judgement.standing import Standing
from udml.registry.gate import DIFFERENCE, Measured

AUTO = "auto"  # of retrain.metric
ENOUGH = 50  # answers; with fewer an interval holds the truth less often than it says
_AT_5 = DEPTHS.index(5)


def judged_instead(measured: Measured, standing: Standing | None, opponent: str, least: float) -> Measured:
    """What judgements say of challenger and opponent, if it is enough to decide; else `measured` as it is.

    It is enough where the whole 95 % interval of the difference in precision at 5 lies on one side of what
    the rule demands.

    Args:
        measured: by labels, or without.
        standing: of the judgements; None where there are none.
        opponent: its kind among the judged models: "baseline" or "champion".
        least: what the lower end of the interval must exceed.
    """
    difference = standing.difference("challenger", opponent) if standing else None
    if standing is None or standing.judged is None or difference is None:
        return measured
    at_5 = difference[_AT_5]
    if standing.judged.answers < ENOUGH or at_5.low < least <= at_5.high:
        return measured
    challenger, other = (_precision(standing, kind).value for kind in ("challenger", opponent))
    return Measured(measured.opponent, "precision_at_5", challenger, other, at_5)


def _precision(standing: Standing, kind: str, depth: int = _AT_5) -> Estimate:
    number = standing.number(kind)
    assert standing.judged is not None
    assert number is not None
    return standing.judged.precision[number][depth]


def with_judged(table: list[dict[str, str]], standing: Standing) -> list[dict[str, str]]:
    """The table of backbone, champion and challenger, what people judged as its first rows, in per cent."""
    if standing.judged is None or standing.number("challenger") is None:
        return table
    found = []
    for depth, k in enumerate(DEPTHS):
        row = dict.fromkeys(table[0], "")
        row["figure"] = f"precision at {k}, judged"
        for kind, column in _columns(standing).items():
            row[column] = _shown(_precision(standing, kind, depth))
        difference = standing.difference("challenger", "champion")
        if difference is not None:
            value, low, high = (100 * end for end in vars(difference[depth]).values())
            row[DIFFERENCE] = f"{value:+.1f} ({low:+.1f} to {high:+.1f})"
        found.append(row)
    return found + table


def _columns(standing: Standing) -> dict[str, str]:
    """The table's column of each kind of model that is compared."""
    names = {}
    for kind, number in standing.kinds.items():
        title = standing.models[number].title
        short = {"frozen backbone, whitened": "frozen, whitened"}.get(title, title)
        names[kind] = "challenger" if kind == "challenger" else short
    return names


def _shown(one: Estimate) -> str:
    return f"{100 * one.value:.1f} ({100 * one.low:.0f} to {100 * one.high:.0f})"
