"""What answers of people are worth: simulated judges who see the labels, on models whose truth is known.

    python -m benchmarks.judging --data ../shared/data/grocery

The models are those of `python -m benchmarks.grocery --seeds 0 --rotation-weights 0.1`, which is run first
if it has not been: the frozen backbone, as it came and whitened, and the trained embedding as the champion.
Each judge answers other pairs; some err in 5 % of answers. Printed for each number of answers: how often
the champion is told from the other, how often the 95 % intervals hold the truth, how wide they are, and
what judge number 0 is told.
"""

import argparse
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from udml.judgement.estimate import Judged
    from udml.judgement.pairs import Pairs

ANSWERS = (50, 100, 200, 400)
ERRS = (0.0, 0.05)


def main() -> None:
    """Simulate the judges and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the unpacked Grocery Store Dataset")
    parser.add_argument("--work", type=Path, default=Path(".scratch/benchmark-grocery"))
    parser.add_argument("--judges", type=int, default=1000)
    options = parser.parse_args()
    made = options.work / "96px" / "rotation-0.1-seed-0" / "export"
    if not (made / "whitened.onnx").exists():
        command = ["benchmarks.grocery", "--data", str(options.data), "--work", str(options.work)]
        command += ["--seeds", "0", "--rotation-weights", "0.1"]
        subprocess.run([sys.executable, "-m", *command], check=True)
    for opponent in ("frozen", "whitened"):
        for refined in (False, True):
            pairs, same = _pairs(options.work / "96px" / "prepare", made, opponent, refined)
            how = "by neighbourhoods" if refined else "by similarity alone"
            print(f"\nChampion against the {opponent} backbone, both searched {how}.")
            _print_table(pairs, same, options.judges)


def _pairs(prepared: Path, made: Path, opponent: str, refined: bool) -> "tuple[Pairs, np.ndarray]":
    """The pooled pairs of two models, and the true answers."""
    import numpy as np

    from udml.data.catalog import open_store, read_catalog
    from udml.judgement.pairs import pool
    from udml.judgement.results import queries_of, results
    from udml.search.embedder import Embedder, embed_store

    catalog = read_catalog(prepared)
    rows = np.flatnonzero(catalog["split"] == "test")
    test = catalog.iloc[rows]
    shas, groups = [str(sha256) for sha256 in test["sha256"]], test["group"].to_numpy()
    store = open_store(prepared, catalog)
    models = (made / f"{opponent}.onnx", made / "model.onnx")
    vectors = [embed_store(Embedder(model), store, rows, model.stem) for model in models]
    found = [results(one, groups, queries_of(shas), refined) for one in vectors]
    label = dict(zip(shas, test["label"], strict=True))
    pairs = pool(found, vectors, shas)
    return pairs, np.array([float(label[a] == label[b]) for a, b in pairs.keys])


def _print_table(pairs: "Pairs", same: "np.ndarray", judges: int) -> None:
    truth = pairs.weights @ same
    gains = truth[1] - truth[0]
    print(
        f"{len(pairs):,} pairs. Precision at 1: {_points(truth[0, 0])} and {_points(truth[1, 0])}, at 5: "
        f"{_points(truth[0, 1])} and {_points(truth[1, 1])}; the champion gains {_points(gains[0])} and "
        f"{_points(gains[1])} points.\n\n"
        "| answers | errs | told apart | precision held | gain held | half width of gain at 5 | judge 0 |\n"
        "|---|---|---|---|---|---|---|"
    )
    for errs in ERRS:
        for answers in ANSWERS:
            told = [_judge(pairs, same, answers, seed, errs) for seed in range(judges)]
            cells = (str(answers), f"{100 * errs:.0f} %", *_figures(told, truth))
            print(f"| {' | '.join(cells)} |")


def _judge(pairs: "Pairs", same: "np.ndarray", answers: int, seed: int, errs: float) -> "Judged":
    """What one judge finds out: other lots, so other pairs, for each seed."""
    import numpy as np

    from udml.judgement.estimate import estimate

    rng = np.random.default_rng(seed)
    drawn = replace(pairs, number=rng.random(len(pairs)))
    asked = np.zeros(len(pairs), bool)
    asked[np.argpartition(drawn.turn, answers)[:answers]] = True
    said = np.where(rng.random(len(pairs)) < errs, 1 - same, same)
    found = estimate(drawn, asked, np.where(asked, said, np.nan))
    assert found is not None
    return found


def _figures(told: "list[Judged]", truth: "np.ndarray") -> list[str]:
    gains = truth[1] - truth[0]
    both = [one.differences[0, 1] for one in told]
    apart = sum(one[-1].low > 0 for one in both) / len(told)
    levels = sum(
        one.precision[model][depth].low <= truth[model, depth] <= one.precision[model][depth].high
        for one in told
        for model in (0, 1)
        for depth in (0, 1)
    ) / (4 * len(told))
    held = [sum(one[d].low <= gains[d] <= one[d].high for one in both) / len(told) for d in (0, 1)]
    half = sum(one[-1].high - one[-1].low for one in both) / (2 * len(told))
    first = both[0][-1]
    return [
        f"{100 * apart:.0f} %",
        f"{100 * levels:.1f} %",
        f"{100 * held[0]:.1f} and {100 * held[1]:.1f} %",
        _points(half),
        f"{_points(first.value)} ({_points(first.low)} to {_points(first.high)})",
    ]


def _points(share: float) -> str:
    return f"{100 * share:.1f}"


if __name__ == "__main__":
    main()
