"""What an image looks like on average: features over several views of it, by which labels are made.

What one view has by chance, how the thing is held and what is cut off, decides much of which images are near
to each other; the mean over a few views has less of that. It does with one photo what search by neighbourhoods
does with several of a thing. All images are looked at in the same ways: ways drawn at random for each would
be a difference themselves (docs/labels.md has what each is worth).

Shapes: n images, c length of features.
"""

import numpy as np

from udml.learning.loop.drawing import Look, Looked
from udml.learning.loop.embedding import embed
from udml.learning.loop.run import Run

LOOKS = (
    Look(0.64, 0.25, 0.25, turn_degrees=10.0, mirrored=False),
    Look(0.64, 0.75, 0.75, turn_degrees=-10.0, mirrored=True),
)
"""Beside the fixed view."""

VIEWS_A_ROUND = 20_000
"""At most, so that labels do not take longer than what is learnt from them."""


def looks_at_each(images: int) -> int:
    """At how many further views of each of n images labels look: fewer where there are many."""
    return min(len(LOOKS), VIEWS_A_ROUND // max(images, 1))


def averaged_features(run: Run, fixed: np.ndarray) -> np.ndarray:
    """Each training image's features averaged over its views: float32 [n, c].

    Args:
        run: its averaged weights. Of a feature bank, which holds other views, the fixed one is all.
        fixed: float32 [n, c], those of the fixed views.
    """
    looks = LOOKS[: looks_at_each(len(fixed))] if run.data.bank is None else ()
    total = fixed.copy()
    for number, look in enumerate(looks, 1):
        name = f"round {len(run.state.rounds)}: look {number} of {len(looks)}"
        total += embed(run, Looked(run, look), name, with_features=True)[0]
    return total / np.float32(1 + len(looks))
