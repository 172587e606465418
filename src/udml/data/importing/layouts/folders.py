"""Folders without a list: any tree of files without labels, a folder per class, a folder per split."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from udml.data.importing.layouts.base import Item, Layout, Reader, items_below
from udml.errors import UdmlError
from udml.text import printable
from udml.walking.clutter import IMAGE_SUFFIXES
from udml.walking.rules import WalkRules
from udml.walking.walk import LeftOut

# Sub-folders with these names hold splits of a data set, not classes.
_TRAIN_NAMES = frozenset(("train", "training"))
_VALIDATION_NAMES = frozenset(("val", "valid", "validation"))
_TEST_NAMES = frozenset(("test", "testing"))
_SPLIT_NAMES = _TRAIN_NAMES | _VALIDATION_NAMES | _TEST_NAMES
_AS_IT_LIES = WalkRules()


def read_plain(root: Path, rules: WalkRules = _AS_IT_LIES) -> Layout:
    """Every file under `root`, at any depth, unlabelled."""
    return _layout(
        "plain", "plain: unlabelled; the split is drawn by prepare", root, rules, lambda item: item
    )


def read_classes(root: Path, rules: WalkRules = _AS_IT_LIES) -> Layout:
    """Every file under `root`; the sub-folder it lies in is its label.

    Files that lie beside the class folders get no label.
    """
    protocol = "classes: one folder per class; the split is drawn by prepare"
    return _layout("classes", protocol, root, rules, _with_label)


def read_splits(root: Path, rules: WalkRules = _AS_IT_LIES) -> Layout:
    """`train/CLASS/`, `val/CLASS/`, `test/CLASS/`, as torchvision's ImageFolder and its data sets have it.

    `val` tests where there is no `test`, and trains where there is. Other folders get no split.
    """
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

    return _layout("splits", protocol, root, rules, placed)


def _layout(name: str, protocol: str, root: Path, rules: WalkRules, placed: Callable[[Item], Item]) -> Layout:
    left_out = LeftOut()
    return Layout(name, protocol, map(placed, items_below(root, rules, left_out)), left_out)


def _with_label(item: Item) -> Item:
    folder, slash, _ = item.source.partition("/")
    return replace(item, label=folder if slash else None)


def _pictures(root: Path, rules: WalkRules) -> Iterator[list[str]]:
    """The parts of the name of every file that is a picture by its suffix."""
    for item in items_below(root, rules, LeftOut()):
        if Path(item.source).suffix.lower() in IMAGE_SUFFIXES:
            yield item.source.split("/")


def detect_classes(root: Path, rules: WalkRules = _AS_IT_LIES) -> bool:
    """Whether `root` holds one folder per class, and nothing that speaks against it.

    True only if every image (by suffix) lies exactly one level down, at least two folders hold at
    least two images each, and the folders are not named after splits. In doubt a folder is plain.
    """
    return root.is_dir() and not _what_speaks_against_classes(root, rules)


def _what_speaks_against_classes(root: Path, rules: WalkRules) -> str:
    """Why the folders in `root` are not taken for classes, as half a sentence; "" if they are."""
    images: Counter[str] = Counter()
    for parts in _pictures(root, rules):
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


def _why_plain(root: Path, rules: WalkRules) -> str:
    return f"its folders are not taken for classes: {_what_speaks_against_classes(root, rules)}"


def detect_splits(root: Path, rules: WalkRules = _AS_IT_LIES) -> bool:
    """Whether `root` holds folders called train and val or test, and they hold folders with the images."""
    if not root.is_dir():
        return False
    found: set[str] = set()
    for parts in _pictures(root, rules):
        if len(parts) < 3 or parts[0].lower() not in _SPLIT_NAMES:
            return False
        found.add(parts[0].lower())
    return bool(found & _TRAIN_NAMES) and bool(found - _TRAIN_NAMES)


def _is_folder(root: Path, rules: WalkRules = _AS_IT_LIES) -> bool:
    return root.is_dir()


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
