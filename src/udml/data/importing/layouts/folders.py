"""Plain folders: any tree of files without labels, and one folder per class."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from udml.data.importing.layouts.base import IMAGE_SUFFIXES, Item, Layout, Reader, walk

# Sub-folders with these names hold splits of a data set, not classes.
_SPLIT_NAMES = frozenset(("train", "training", "val", "valid", "validation", "test", "testing"))


def read_plain(root: Path) -> Layout:
    """Every file under `root`, at any depth, unlabelled. Hidden files are left out."""
    return Layout("plain", "plain: unlabelled; the split is drawn by prepare", walk(root))


def read_classes(root: Path) -> Layout:
    """Every file under `root`; the sub-folder it lies in is its label. Hidden files are left out.

    Files that lie beside the class folders get no label.
    """
    return Layout("classes", "classes: one folder per class; the split is drawn by prepare", _labelled(root))


def _labelled(root: Path) -> Iterator[Item]:
    for item in walk(root):
        folder, slash, _ = item.source.partition("/")
        yield replace(item, label=folder if slash else None)


def detect_classes(root: Path) -> bool:
    """Whether `root` holds one folder per class, and nothing that speaks against it.

    True only if every image (by suffix) lies exactly one level down, at least two folders hold at
    least two images each, and the folders are not named after splits. In doubt a folder is plain.
    """
    images: Counter[str] = Counter()
    for item in walk(root):
        if Path(item.source).suffix.lower() not in IMAGE_SUFFIXES:
            continue
        if item.source.count("/") != 1:
            return False
        images[item.source.partition("/")[0]] += 1
    if {name.lower() for name in images} <= _SPLIT_NAMES:
        return False
    return sum(count >= 2 for count in images.values()) >= 2


PLAIN = Reader("plain", Path.is_dir, read_plain)
CLASSES = Reader("classes", detect_classes, read_classes)
