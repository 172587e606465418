"""Folders without a list: any tree of files without labels, a folder per class, a folder per split."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from udml.data.importing.layouts.base import Item, Layout, Reader, Walked
from udml.errors import UdmlError
from udml.text import printable
from udml.walking.clutter import IMAGE_SUFFIXES

# Sub-folders with these names hold splits of a data set, not classes.
_TRAIN_NAMES = frozenset(("train", "training"))
_VALIDATION_NAMES = frozenset(("val", "valid", "validation"))
_TEST_NAMES = frozenset(("test", "testing"))
_SPLIT_NAMES = _TRAIN_NAMES | _VALIDATION_NAMES | _TEST_NAMES


def read_plain(walked: Walked) -> Layout:
    """Every file, at any depth, unlabelled."""
    return _layout("plain", "plain: unlabelled; the split is drawn by prepare", walked, lambda item: item)


def read_classes(walked: Walked) -> Layout:
    """Every file; the sub-folder it lies in is its label.

    Files that lie beside the class folders get no label.
    """
    protocol = "classes: one folder per class; the split is drawn by prepare"
    return _layout("classes", protocol, walked, _with_label)


def read_splits(walked: Walked) -> Layout:
    """`train/CLASS/`, `val/CLASS/`, `test/CLASS/`, as torchvision's ImageFolder and its data sets have it.

    `val` tests where there is no `test`, and trains where there is. Other folders get no split.
    """
    root = walked.root
    names = {path.name.lower() for path in root.iterdir() if path.is_dir()}
    if not names & _TRAIN_NAMES:
        raise UdmlError(f"no train/ in {printable(root)}", "it holds a folder per class, as val/ or test/ do")
    trains = _TRAIN_NAMES | (_VALIDATION_NAMES if names & _TEST_NAMES else frozenset())
    protocol = "splits: a folder per split, in it a folder per class; " + (
        "`val` trains, `test` tests" if names & _TEST_NAMES else "`train` trains, `val` tests"
    )

    def placed(item: Item) -> Item:
        part, _, below = item.source.partition("/")
        if not below or part.lower() not in _SPLIT_NAMES:
            return item
        split = "train" if part.lower() in trains else "test"
        folder, slash, _ = below.partition("/")
        return replace(item, split=split, label=folder if slash else None)

    return _layout("splits", protocol, walked, placed)


def _layout(name: str, protocol: str, walked: Walked, placed: Callable[[Item], Item]) -> Layout:
    return Layout(name, protocol, map(placed, walked), walked.left_out)


def _with_label(item: Item) -> Item:
    folder, slash, _ = item.source.partition("/")
    return replace(item, label=folder if slash else None)


def _pictures(walked: Walked) -> Iterator[list[str]]:
    """The parts of the name of every file that is a picture by its suffix."""
    for item in walked:
        if Path(item.source).suffix.lower() in IMAGE_SUFFIXES:
            yield item.source.split("/")


def detect_classes(walked: Walked) -> bool:
    """Whether a folder holds one folder per class, and nothing that speaks against it.

    True only if every image (by suffix) lies exactly one level down, at least two folders hold at
    least two images each, and the folders are not named after splits. In doubt a folder is plain.
    """
    return walked.root.is_dir() and not _what_speaks_against_classes(walked)


def _what_speaks_against_classes(walked: Walked) -> str:
    """Why the folders in a folder are not taken for classes, as half a sentence; "" if they are."""
    images: Counter[str] = Counter()
    for parts in _pictures(walked):
        if len(parts) != 2:
            where = "in no folder" if len(parts) == 1 else "deeper than one folder"
            return f"{printable('/'.join(parts))} lies {where}"
        images[parts[0]] += 1
    if {name.lower() for name in images} <= _SPLIT_NAMES:
        return "the folders are called like splits" if images else "no file is called like an image"
    several = sum(count >= 2 for count in images.values())
    if several == 0:
        return "no folder holds more than one image"
    return "only one folder holds more than one image" if several == 1 else ""


def _why_plain(walked: Walked) -> str:
    if not any("/" in item.source for item in walked):
        return "it holds files and no folders"
    return f"its folders are not taken for classes: {_what_speaks_against_classes(walked)}"


def detect_splits(walked: Walked) -> bool:
    """Whether a folder holds folders called train and val or test, and they hold folders with the images."""
    if not walked.root.is_dir():
        return False
    found: set[str] = set()
    for parts in _pictures(walked):
        if len(parts) < 3 or parts[0].lower() not in _SPLIT_NAMES:
            return False
        found.add(parts[0].lower())
    return bool(found & _TRAIN_NAMES) and bool(found - _TRAIN_NAMES)


def _is_folder(walked: Walked) -> bool:
    return walked.root.is_dir()


PLAIN = Reader("plain", _is_folder, read_plain, walks=True, because=_why_plain)
CLASSES = Reader(
    "classes",
    detect_classes,
    read_classes,
    walks=True,
    because="every image lies in a folder, and at least two folders hold more than one",
)
SPLITS = Reader(
    "splits", detect_splits, read_splits, walks=True, because="its folders are called train, val, test"
)
