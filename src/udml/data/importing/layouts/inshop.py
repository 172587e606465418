"""DeepFashion In-Shop Clothes Retrieval as its authors publish it (Liu et al., CVPR 2016)."""

from collections.abc import Iterator
from pathlib import Path

from udml.data.importing.layouts.base import Item, Layout, Reader, rows
from udml.errors import UdmlError

_LIST = "list_eval_partition.txt"
# The release unpacks to Eval/ (older ones: Evaluations/) and Img/; some people flatten it.
_LIST_FOLDERS = ("", "Eval", "Evaluations", "Anno")
_IMAGE_FOLDERS = ("Img", "")
_PARTS = {"train": ("train", "both"), "query": ("test", "query"), "gallery": ("test", "gallery")}


def detect(root: Path) -> bool:
    """`list_eval_partition.txt`, in the folder or in its `Eval/`."""
    return _find_list(root) is not None


def read(root: Path) -> Layout:
    """The files named by the partition list; the label is the item id."""
    path = _find_list(root)
    if path is None:
        raise UdmlError(f"no {_LIST} in {root} or its Eval/", "check that the data set is complete")
    return Layout("inshop", "inshop: published train, query and gallery partition", _items(root, path))


def _find_list(root: Path) -> Path | None:
    paths = (root / folder / _LIST for folder in _LIST_FOLDERS)
    return next((path for path in paths if path.is_file()), None)


def _items(root: Path, path: Path) -> Iterator[Item]:
    base = next((root / folder for folder in _IMAGE_FOLDERS if (root / folder / "img").is_dir()), root)
    for source, item_id, part in rows(path, 3, skip=2):
        if part not in _PARTS:
            raise UdmlError(f"{path}: unknown part `{part}` of {source}", f"known: {', '.join(_PARTS)}")
        split, role = _PARTS[part]
        yield Item(base / source, source, split, role, item_id)


READER = Reader("inshop", detect, read)
