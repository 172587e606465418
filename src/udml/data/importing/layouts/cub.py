"""CUB-200-2011 as its authors publish it (Wah et al., Caltech CNS-TR-2011-001).

Protocol of metric learning: the first 100 classes train, the last 100 test.
"""

from collections.abc import Iterator
from pathlib import Path

from udml.data.importing.layouts.base import Item, Layout, Reader, rows, whole
from udml.errors import UdmlError

_LAST_TRAIN_CLASS = 100


def detect(root: Path) -> bool:
    """`images.txt` and `image_class_labels.txt` beside `images/`."""
    return all((root / name).is_file() for name in ("images.txt", "image_class_labels.txt"))


def read(root: Path) -> Layout:
    """The files named by `images.txt`, under `images/`."""
    labels_file = root / "image_class_labels.txt"
    class_of = {key: whole(value, labels_file) for key, value in rows(labels_file, 2)}
    names_file = root / "classes.txt"
    names = (
        {whole(key, names_file): name for key, name in rows(names_file, 2)} if names_file.is_file() else {}
    )
    return Layout("cub", "cub: train on classes 1-100, test on 101-200", _items(root, class_of, names))


def _items(root: Path, class_of: dict[str, int], names: dict[int, str]) -> Iterator[Item]:
    for key, name in rows(root / "images.txt", 2):
        if key not in class_of:
            raise UdmlError(
                f"{root / 'image_class_labels.txt'} has no class for image {key} ({name})", "complete it"
            )
        number = class_of[key]
        split = "train" if number <= _LAST_TRAIN_CLASS else "test"
        yield Item(root / "images" / name, f"images/{name}", split, "both", names.get(number, str(number)))


READER = Reader("cub", detect, read)
