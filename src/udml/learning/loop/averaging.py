"""What an image looks like on average: features over several views of it, by which labels are made.

What a single view has by chance, how it is cropped and held, decides much of which images are near to each
other before training, and some of it after; the mean over a few views has less of that. It is what search by
neighbourhoods does with different photos of a thing, done with one (docs/labels.md has what it is worth).

Shapes: n images, v views of each, c length of features.
"""

import numpy as np

from udml.learning.loop.drawing import DrawnViews
from udml.learning.loop.embedding import embed
from udml.learning.loop.feature_bank import FeatureBank, OneView
from udml.learning.loop.run import Run
from udml.learning.views.training import Variation

MOST_VIEWS = 4
"""Of each image, beside its fixed one. Two are worth nearly as much."""

VIEWS_A_ROUND = 20_000
"""At most, so that labels do not take longer than what is learnt from them."""

_VARIATION = Variation((0.5, 1.0), turn_degrees=10.0, light_stops=0.0, cast_stops=0.0)
_SEED = 8  # apart from those of steps and of the feature bank


def views_of_each(images: int) -> int:
    """How many random views there are of each of n images: v, fewer where there are many."""
    return min(MOST_VIEWS, VIEWS_A_ROUND // max(images, 1))


def averaged_features(run: Run, fixed: np.ndarray) -> np.ndarray:
    """Each training image's features averaged over its views: float32 [n, c].

    A function of weights, seed and step, so that a killed run goes on to the bit.

    Args:
        run: its averaged weights, or its feature bank, whose views are there already.
        fixed: float32 [n, c], those of the fixed views.
    """
    if run.data.bank is not None:
        return _of_bank(run.data.bank)
    views = views_of_each(len(fixed))
    total = fixed.copy()
    for view in range(views):
        seed = [run.params.seed, _SEED, run.state.step, view]
        name = f"round {len(run.state.rounds)}: view {view + 1} of {views}"
        total += embed(run, DrawnViews(run, _VARIATION, seed), name, with_features=True)[0]
    return total / np.float32(1 + views)


def _of_bank(bank: FeatureBank) -> np.ndarray:
    views = bank.length.shape[1]
    return sum((OneView(bank, view)[:] for view in range(views)), np.float32(0)) / np.float32(views)
