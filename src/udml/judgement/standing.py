"""What judgements say of the compared models by now, in numbers and in words. No files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from udml.evaluation.intervals import Estimate
from udml.judgement.answers import Answers
from udml.judgement.estimate import LEAST, Judged, estimate
from udml.judgement.pairs import DEPTHS

if TYPE_CHECKING:  # it loads pandas; the page does without
    from udml.judgement.deck import Deck, Model


@dataclass(frozen=True)
class Standing:
    """How the compared models stand.

    Attributes:
        models, kinds, versions: as in the deck.
        pairs: that could be asked in all.
        answers: on these pairs, counted or not.
        judged: what follows; None where there are too few answers.
    """

    models: Sequence["Model"]
    kinds: Mapping[str, int]
    versions: Sequence[str]
    pairs: int
    answers: int
    judged: Judged | None

    def number(self, kind: str) -> int | None:
        """Place of the model of a kind; None if it is not compared."""
        return self.kinds.get(kind)

    def difference(self, kind: str, other: str) -> tuple[Estimate, ...] | None:
        """Precision at 1 and at 5 of one kind of model less that of another; None if not known."""
        first, second = self.number(other), self.number(kind)
        if self.judged is None or first is None or second is None or first == second:
            return None
        if first < second:
            return self.judged.differences[first, second]
        turned = self.judged.differences[second, first]
        return tuple(Estimate(-one.value, -one.high, -one.low) for one in turned)


def stand(deck: "Deck", answers: Answers) -> Standing:
    """What the answers say of the models of a deck."""
    asked, shares = answers.on(deck.pairs)
    judged = estimate(deck.pairs, asked, shares)
    return Standing(deck.models, deck.kinds, deck.versions, len(deck.pairs), int(asked.sum()), judged)


def as_json(standing: Standing) -> dict[str, object]:
    """Plain values: for a page, and to be kept."""
    judged = standing.judged
    return {
        "pairs": standing.pairs,
        "answers": standing.answers,
        "counted": judged.answers if judged else 0,
        "least": LEAST,
        "models": [
            {
                "kind": model.kind,
                "title": model.title,
                "model_version": version,
                **({} if judged is None else _named(judged.precision[at])),
            }
            for at, (model, version) in enumerate(zip(standing.models, standing.versions, strict=True))
        ],
        "comparisons": sentences(standing),
    }


def _named(estimates: Sequence[Estimate]) -> dict[str, list[float]]:
    return {
        f"precision_at_{depth}": [one.value, one.low, one.high]
        for depth, one in zip(DEPTHS, estimates, strict=True)
    }


def sentences(standing: Standing) -> list[str]:
    """What is known of each two models, by precision at 5, a sentence each."""
    judged = standing.judged
    if judged is None:
        left = max(1, LEAST - standing.answers)
        return [f"About {left} more {'answer' if left == 1 else 'answers'} until there is a first estimate."]
    said = []
    for (first, second), estimates in judged.differences.items():
        one, other = standing.models[first].title, standing.models[second].title
        said.append(_sentence(one, other, estimates[-1], judged.more[first, second]))
    return said


def _sentence(one: str, other: str, difference: Estimate, more: int | None) -> str:
    ends = f"{_points(difference.low)} to {_points(difference.high)} points"
    if difference.low > 0:
        return f"The {other} finds more than the {one}: {ends}."
    if difference.high < 0:
        return f"The {other} finds less than the {one}: {ends}."
    if difference.low == difference.high:
        return f"The {other} finds as much as the {one}."
    if more is None:
        return f"The {other} and the {one} are hard to tell apart: {ends}."
    answers = "answer" if more == 1 else "answers"
    return f"About {more:,} more {answers} will tell the {other} and the {one} apart: {ends} so far."


def _points(share: float) -> str:
    return f"{100 * share:+.1f}".replace("-", "\N{MINUS SIGN}")
