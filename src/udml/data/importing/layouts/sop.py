"""Stanford Online Products as its authors publish it (Oh Song et al., CVPR 2016, arXiv 1511.06452)."""

from collections.abc import Iterator
from pathlib import Path

from udml.data.importing.layouts.base import Item, Layout, Reader, rows

_LISTS = {"train": "Ebay_train.txt", "test": "Ebay_test.txt"}


def detect(root: Path) -> bool:
    """`Ebay_train.txt` and `Ebay_test.txt`."""
    return all((root / name).is_file() for name in _LISTS.values())


def read(root: Path) -> Layout:
    """The files named by the two lists; the label is the product's class id."""
    return Layout("sop", "sop: published split, 11,318 train and 11,316 test products", _items(root))


def _items(root: Path) -> Iterator[Item]:
    for split, name in _LISTS.items():
        for _, class_id, _, source in rows(root / name, 4, skip=1):
            yield Item(root / source, source, split, "both", class_id)


READER = Reader("sop", detect, read)
