"""The Grocery Store Dataset as its authors publish it (github marcusklasson/GroceryStoreDataset, MIT).

Klasson, Zhang, Kjellstrom, "A Hierarchical Grocery Store Image Dataset with Visual and Semantic
Labels", WACV 2019. Zero-shot protocol: train on class ids 0-40, test on 41-80.
"""

import csv
from collections.abc import Iterator
from pathlib import Path

from udml.data.importing.layouts.base import Item, Layout, Reader, rows, whole
from udml.errors import UdmlError

_LAST_TRAIN_CLASS = 40
_LISTS = ("train.txt", "val.txt", "test.txt")
_PROTOCOL = (
    "grocery: train on classes 0-40, test on 41-80; "
    "query = official test split, gallery = official train + val"
)


def detect(root: Path) -> bool:
    """`classes.csv` beside the three lists."""
    return all((root / name).is_file() for name in (*_LISTS, "classes.csv"))


def read(root: Path) -> Layout:
    """The files named by `train.txt`, `val.txt` and `test.txt`."""
    return Layout("grocery", _PROTOCOL, _items(root, _class_names(root / "classes.csv")))


def _class_names(path: Path) -> dict[int, str]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return {
                int(record["Class ID (int)"]): record["Class Name (str)"] for record in csv.DictReader(file)
            }
    except OSError as error:
        raise UdmlError(
            f"cannot read {path}: {error.strerror}", "check that the data set is complete"
        ) from error
    except (KeyError, ValueError, TypeError) as error:
        raise UdmlError(
            f"{path} lacks class names and ids ({error})", "check that it is the authors' file"
        ) from error


def _items(root: Path, names: dict[int, str]) -> Iterator[Item]:
    for name in _LISTS:
        for source, class_id, _ in rows(root / name, 3, ","):
            number = whole(class_id, root / name)
            label = names.get(number, str(number))
            if number <= _LAST_TRAIN_CLASS:
                yield Item(root / source, source, "train", "both", label)
            else:
                yield Item(root / source, source, "test", "query" if name == "test.txt" else "gallery", label)


READER = Reader("grocery", detect, read)
