"""The one reader of YAML: what people wrote, what DVC wrote, and what is no YAML at all."""

from pathlib import Path
from typing import Any

import yaml

from udml.errors import UdmlError, reason
from udml.files import read_regular

_MOST_VALUES = 100_000  # with all that aliases stand for; ten lines of them can mean thousands of millions
_MEND = "undo the last edit of it"


class _Loader(yaml.SafeLoader):
    """Refuses what aliases make large, or part of itself, before anything is made of it."""

    def construct_document(self, node: yaml.Node) -> Any:
        if _values(node, {}) > _MOST_VALUES:
            raise yaml.constructor.ConstructorError(
                problem=f"it has more than {_MOST_VALUES:,} values, or holds itself, by its aliases",
                problem_mark=node.start_mark,
            )
        return super().construct_document(node)


def read_yaml(path: Path) -> Any:
    """What a YAML file holds.

    Raises:
        UdmlError: if it can't be read, is no file, no YAML in UTF-8, or larger than anybody's.
    """
    try:
        text = read_regular(path).decode()
    except UnicodeDecodeError as error:
        raise UdmlError(f"{path} is not YAML in UTF-8: {error}", _MEND) from error
    except (OSError, ValueError) as error:
        raise UdmlError(f"cannot read {path}: {reason(error)}", _MEND) from error
    return parse_yaml(text, str(path))


def parse_yaml(text: str, origin: str) -> Any:
    """What a text in YAML holds; see `read_yaml` for the errors."""
    try:
        return yaml.load(text, _Loader)
    except Exception as error:  # values that are none make PyYAML raise almost anything, IndexError too
        raise UdmlError(f"{origin} is not YAML in UTF-8: {error}", _MEND) from error


def read_mapping(path: Path) -> dict[str, Any]:
    """What a YAML file of names and values holds; {} where it is empty.

    Raises:
        UdmlError: as `read_yaml` does, or if it holds something else.
    """
    found = read_yaml(path)
    if not isinstance(found, dict | None):
        raise UdmlError(f"{path} does not hold names and values, but {type(found).__name__}", _MEND)
    return found or {}


def mapping_at(values: dict[str, Any], *names: str) -> dict[str, Any]:
    """What stands under names, one below the other; {} where that is nothing, or no mapping."""
    for name in names:
        below = values.get(name)
        values = below if isinstance(below, dict) else {}
    return values


def _values(node: yaml.Node, known: dict[int, int]) -> int:
    """How many values a node and all below it are; too many where it is below itself."""
    if id(node) not in known:
        known[id(node)] = _MOST_VALUES + 1  # until it is known
        below = node.value if isinstance(node, yaml.CollectionNode) else []
        if isinstance(node, yaml.MappingNode):
            below = [one for pair in below for one in pair]
        known[id(node)] = 1 + sum(_values(one, known) for one in below)
    return known[id(node)]
