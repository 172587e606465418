"""Cars-196 as its authors publish it (Krause et al., 3dRR 2013).

Both packagings are read: `cars_annos.mat` with `car_ims/`, and the devkit with `cars_train/` and
`cars_test/`. Protocol of metric learning: the first 98 classes train, the last 98 test; the
classification split of the release is not used.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from udml.data.importing.layouts.base import Item, Layout, Reader
from udml.errors import UdmlError, install_hint, reason

_LAST_TRAIN_CLASS = 98
_ANNOTATIONS = "cars_annos.mat"
_META = "devkit/cars_meta.mat"
# (folder, its annotations, in order of preference); the test labels were published separately.
_DEVKIT = (
    ("cars_train", ("devkit/cars_train_annos.mat",)),
    ("cars_test", ("devkit/cars_test_annos_withlabels.mat", "cars_test_annos_withlabels.mat")),
)


def detect(root: Path) -> bool:
    """`cars_annos.mat`, or the devkit's `cars_meta.mat`."""
    return (root / _ANNOTATIONS).is_file() or (root / _META).is_file()


def read(root: Path) -> Layout:
    """The files named by the annotations."""
    items = _single(root) if (root / _ANNOTATIONS).is_file() else _devkit(root)
    return Layout("cars", "cars: train on classes 1-98, test on 99-196", items)


def _single(root: Path) -> Iterator[Item]:
    path = root / _ANNOTATIONS
    content = _load(path)
    names = _names(content)
    for record in _field(content, "annotations", path):
        yield _item(root, str(_value(record, "relative_im_path", path)), _value(record, "class", path), names)


def _devkit(root: Path) -> Iterator[Item]:
    names = _names(_load(root / _META))
    for folder, candidates in _DEVKIT:
        path = next((root / name for name in candidates if (root / name).is_file()), root / candidates[0])
        for record in _field(_load(path), "annotations", path):
            source = f"{folder}/{_value(record, 'fname', path)}"
            yield _item(root, source, _value(record, "class", path), names)


def _item(root: Path, source: str, class_id: Any, names: list[str]) -> Item:
    number = int(class_id)
    label = names[number - 1] if 1 <= number <= len(names) else str(number)
    return Item(root / source, source, "train" if number <= _LAST_TRAIN_CLASS else "test", "both", label)


def _load(path: Path) -> dict[str, Any]:
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise UdmlError(f"reading {path} needs scipy", install_hint("pipeline")) from error
    try:
        return loadmat(str(path), squeeze_me=True)
    except FileNotFoundError as error:
        raise UdmlError(f"{path} is missing", "check that the data set is complete") from error
    except Exception as error:  # scipy raises nearly anything on damaged files
        raise UdmlError(
            f"cannot read {path}: {reason(error)}", "check that it is the authors' file"
        ) from error


def _names(content: dict[str, Any]) -> list[str]:
    return [str(name) for name in content.get("class_names", [])]


def _field(content: dict[str, Any], name: str, path: Path) -> Any:
    if name not in content:
        raise UdmlError(f"{path} has no `{name}`", "check that it is the authors' file")
    return content[name].reshape(-1)


def _value(record: Any, name: str, path: Path) -> Any:
    if name not in (record.dtype.names or ()):
        raise UdmlError(f"{path}: annotations without `{name}`", "the test labels are a separate download")
    return record[name]


READER = Reader("cars", detect, read)
