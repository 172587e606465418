"""Which figure follows the truth where there are no labels.

    python -m benchmarks.verdict --prepared places=artifacts/prepare grocery=DIR ... --work DIR

Trains well and badly on half of each set's training classes (see `trainings.TRAININGS`), scores the other
half, and holds every candidate figure against MAP@R. Embeddings stay in --work, so that it goes on where it
was, and a new figure costs seconds. No test class is seen. Hours on two cores.
"""

import argparse
import dataclasses
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.contenders import machine
from benchmarks.training.train import Photos
from benchmarks.verdict.figures import candidates
from benchmarks.verdict.trainings import Checkpoint, checkpoints, split_classes
from udml.config import load_params
from udml.evaluation.metrics import score_queries
from udml.machine import keep_freed_memory

START = "whitened"
_ERRORS = 1.96


@dataclass(frozen=True)
class Model:
    """A checkpoint with its truth and its figures.

    Attributes:
        truth: MAP@R of each scored image that has others of its class, 0..1.
        figures: each candidate's value of each scored image.
    """

    checkpoint: Checkpoint
    truth: np.ndarray
    figures: dict[str, np.ndarray]

    @property
    def name(self) -> str:
        """Training and step."""
        return f"{self.checkpoint.training}, step {self.checkpoint.step}"


def main() -> None:
    """Make what is missing, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--prepared", nargs="+", required=True, metavar="NAME=DIR", help="sets with labels")
    parser.add_argument("--work", type=Path, default=Path(".scratch/benchmark-verdict"))
    parser.add_argument("--steps", type=int, default=90, help="of a whole training")
    options = parser.parse_args()
    keep_freed_memory()
    params = load_params()
    sets: dict[str, list[Model]] = {}
    for given in options.prepared:
        name, _, directory = given.partition("=")
        photos = split_classes(Path(directory), params.train)
        train = dataclasses.replace(params.train, steps=options.steps)
        sets[name] = [_model(photos, one) for one in checkpoints(photos, train, options.work / name)]
        print(models_table(name, sets[name]), flush=True)
    print(f"\n{machine()}; {sum(map(len, sets.values()))} checkpoints of {len(sets)} sets\n")
    print(figures_table(sets))
    print()
    print(verdicts_table(sets))


def _model(photos: Photos, checkpoint: Checkpoint) -> Model:
    every = photos.scored(checkpoint.images)
    found = score_queries(every, every, np.arange(len(every.labels)), [1], False, 2**29)
    figures = candidates(checkpoint.images, (checkpoint.first, checkpoint.second), every.groups)
    return Model(checkpoint, found.values["map_at_r"], figures)


# --- how well a figure follows ----------------------------------------------------------------------


def rank_correlation(figure: Sequence[float], truth: Sequence[float]) -> float:
    """Spearman's, of one set's checkpoints."""
    from scipy.stats import spearmanr

    return float(spearmanr(figure, truth).statistic)


def pooled_correlation(sets: Sequence[tuple[Sequence[float], Sequence[float]]]) -> float:
    """Spearman's of all checkpoints, each ranked within its set first (0..1)."""
    from scipy.stats import rankdata, spearmanr

    ranked = [[rankdata(side) / len(side) for side in one] for one in sets]
    return float(spearmanr(*(np.concatenate(sides) for sides in zip(*ranked, strict=True))).statistic)


def clear(difference: np.ndarray) -> int:
    """+1 or -1 where the mean of paired differences [q] is off 0 by more than its 95 % interval, else 0."""
    error = difference.std(ddof=1) / np.sqrt(len(difference))
    return int(np.sign(difference.mean())) if abs(difference.mean()) > _ERRORS * error else 0


def signs(models: Sequence[Model], figure: str) -> tuple[int, int]:
    """Of the pairs of checkpoints whose truth differs clearly: how often the figure says so too; how many."""
    right = told = 0
    for one, other in itertools.combinations(models, 2):
        truth = clear(one.truth - other.truth)
        if truth:
            told += 1
            right += (one.figures[figure].mean() - other.figures[figure].mean()) * truth > 0
    return right, told


def cost_of_picking(models: Sequence[Model], figure: str) -> float:
    """MAP@R, in points, that picking one training's checkpoint by the figure loses to its best."""
    own = [one for one in models if one.checkpoint.training in ("as set", START)]
    picked = max(own, key=lambda one: one.figures[figure].mean())
    return 100 * float(max(one.truth.mean() for one in own) - picked.truth.mean())


# --- tables -------------------------------------------------------------------------------------------


def models_table(name: str, models: Sequence[Model]) -> str:
    """One set's checkpoints: truth, rank and every figure."""
    figures = list(models[0].figures)
    lines = [f"\n**{name}**\n", "| model | MAP@R, % | effective rank | " + " | ".join(figures) + " |"]
    lines.append("|---" * (3 + len(figures)) + "|")
    for one in models:
        values = " | ".join(f"{one.figures[figure].mean():.3f}" for figure in figures)
        lines.append(f"| {one.name} | {100 * one.truth.mean():.1f} | {one.checkpoint.rank:.0f} | {values} |")
    return "\n".join(lines)


def figures_table(sets: dict[str, list[Model]]) -> str:
    """Every figure: rank correlation in each set and pooled, right signs, and what picking by it costs."""
    head = ["figure", *sets, "pooled", "sign right, %", "picking costs, points (worst)"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for figure in next(iter(sets.values()))[0].figures:
        both = [
            ([one.figures[figure].mean() for one in models], [one.truth.mean() for one in models])
            for models in sets.values()
        ]
        right, told = (sum(part) for part in zip(*(signs(m, figure) for m in sets.values()), strict=True))
        cells = [f"{rank_correlation(*one):.2f}" for one in both]
        worst = max(cost_of_picking(models, figure) for models in sets.values())
        row = [figure, *cells, f"{pooled_correlation(both):.2f}", f"{100 * right / told:.0f}", f"{worst:.1f}"]
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines)


def verdicts_table(sets: dict[str, list[Model]]) -> str:
    """Every figure against the whitened start: what it says where the truth is clear, and where it is not."""
    head = ["figure", "better: said so", "better: said worse", "worse: said so", "worse: said better"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for figure in next(iter(sets.values()))[0].figures:
        counts = np.zeros((3, 3), int)
        for models in sets.values():
            start = next(one for one in models if one.checkpoint.training == START)
            for one in models:
                if one is not start:
                    told = clear(one.figures[figure] - start.figures[figure])
                    counts[clear(one.truth - start.truth), told] += 1
        better, worse = counts[1], counts[-1]
        cells = [
            f"{better[1]} of {better.sum()}", str(better[-1]), f"{worse[-1]} of {worse.sum()}", str(worse[1])
        ]  # fmt: skip
        lines.append(f"| {figure} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
