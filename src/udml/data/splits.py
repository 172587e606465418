"""Which images train and which test: the published split where there is one, else ours.

Classes are held out whole (the model is tested on classes it never saw) and duplicate groups are
never divided: an image whose duplicate is tested is not trained on.
"""

import hashlib

import numpy as np

TRAIN, TEST, EXCLUDED = "train", "test", "excluded"


def assign_splits(
    published: np.ndarray, labels: np.ndarray, groups: np.ndarray, test_share: float, seed: int
) -> np.ndarray:
    """Decide the split of every image.

    1. A published split is kept.
    2. Where none is published, `test_share` of the classes test (none if there is only one class);
       a class that has published images only in one split follows them.
    3. Images without a label follow the labelled images of their duplicate group; if there are none,
       `test_share` of the groups test. The choice depends on seed and group alone, so adding images
       moves none that are there.
    4. Where a group still lies in both, its training images are excluded: they stay in the catalogue
       and in the index, but nothing is trained on them.

    Args:
        published: object [n], "train", "test" or None.
        labels: object [n], class names or None.
        groups: int64 [n], duplicate groups.
        test_share: share of classes, or of groups, held out; 0..1.
        seed: another seed holds out others.

    Returns:
        split: object [n] of "train", "test", "excluded".
    """
    split = published.copy()
    classes = sorted({label for label in labels if label is not None})
    by_class = _class_splits(published, labels, classes, test_share, seed)
    for row in np.flatnonzero([value is None for value in split]):
        split[row] = by_class.get(labels[row])
    _follow_group(split, groups, test_share, seed)
    tested = np.unique(groups[split == TEST])
    split[(split == TRAIN) & np.isin(groups, tested)] = EXCLUDED
    return split


def unit_hash(seed: int, key: object) -> float:
    """A number in [0, 1) that depends on `seed` and the text of `key` alone."""
    digest = hashlib.sha256(f"{seed}:{key}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def _class_splits(
    published: np.ndarray, labels: np.ndarray, classes: list[str], test_share: float, seed: int
) -> dict[str | None, str | None]:
    """The split of the images of each class that have no published one."""
    if len(classes) < 2:
        return {}
    known: dict[str, set[str]] = {name: set() for name in classes}
    for label, split in zip(labels, published, strict=True):
        if label is not None and split is not None:
            known[label].add(split)
    free = sorted(
        (name for name in classes if not known[name]), key=lambda name: (unit_hash(seed, name), name)
    )
    tested = set(free[: _held_out(len(free), test_share)])
    decided: dict[str | None, str | None] = {name: TEST if name in tested else TRAIN for name in free}
    decided.update({name: TEST if splits == {TEST} else TRAIN for name, splits in known.items() if splits})
    return decided


def _held_out(classes: int, test_share: float) -> int:
    """How many classes test: the share, but two at least (if two remain) unless it is 0, and not all."""
    if test_share in (0, 1):
        return int(classes * test_share)
    wanted = max(round(classes * test_share), 2 if classes >= 4 else 1)
    return min(wanted, max(classes - 1, 0))


def _follow_group(split: np.ndarray, groups: np.ndarray, test_share: float, seed: int) -> None:
    """Fill what is None in `split`: as decided members of the group (test before train), else by hash."""
    undecided = np.array([value is None for value in split], bool)
    decided: dict[int, str] = {}
    for group, value in zip(groups[~undecided].tolist(), split[~undecided], strict=True):
        if value == TEST or group not in decided:
            decided[group] = value
    for row in np.flatnonzero(undecided):
        group = int(groups[row])
        if group not in decided:
            decided[group] = TEST if unit_hash(seed, group) < test_share else TRAIN
        split[row] = decided[group]
