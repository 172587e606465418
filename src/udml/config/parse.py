"""`params.yaml` read into its sections."""

from dataclasses import MISSING, fields
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from udml.config.backbones import require_backbone
from udml.config.checks import check_keys, convert
from udml.config.sections import Params
from udml.config.yaml_file import parse_yaml, read_yaml
from udml.errors import UdmlError

PARAMS_FILE = Path("params.yaml")

Section = TypeVar("Section")


def load_params(path: Path = PARAMS_FILE) -> Params:
    """Read and check a params file.

    Raises:
        UdmlError: naming the file, the key and the mend, for a missing file, bad YAML, a missing
            or unknown key, a value of the wrong type or out of range, two that contradict, or a
            backbone that nobody knows.
    """
    if not path.exists():
        raise UdmlError(f"no {path} here ({path.resolve()})", "run udml from the top of the project")
    params = parse_params(read_yaml(path), str(path))
    require_backbone(params.train.backbone)
    return params


def parse_params(values: Any, origin: str = "params") -> Params:
    """Build `Params` from plain nested dictionaries; see `load_params` for the errors."""
    hints = get_type_hints(Params)
    if isinstance(values, dict):  # a section that older files don't have is empty
        values = {field.name: {} for field in fields(Params) if field.default_factory is not MISSING} | values
    check_keys(values, list(hints), origin)
    return Params(**{name: parse_section(values[name], hints[name], origin, name) for name in hints})


def section_as_made(path: Path, section: type[Section], name: str) -> Section:
    """One section of a file of another day; keys that came or went since then are as they are today.

    Raises:
        UdmlError: as `load_params` does, of this section.
    """
    today = parse_yaml((files("udml") / "presets" / "laptop.yaml").read_text(), "laptop.yaml")[name]
    whole = read_yaml(path)
    then = (whole.get(name) if isinstance(whole, dict) else None) or {}
    kept = {key: then.get(key, value) for key, value in today.items()}
    return parse_section(kept, section, str(path), name)


def parse_section(values: Any, section: type[Section], origin: str, name: str) -> Section:
    """One section of `Params` from a plain dictionary; see `load_params` for the errors."""
    hints = get_type_hints(section)
    known = fields(section)  # type: ignore[arg-type]
    given = {field.name: field.default for field in known if field.default is not MISSING}
    values = given | values if isinstance(values, dict) else values
    check_keys(values, [field.name for field in known], f"{origin}, section {name}")
    parsed = {
        field.name: convert(values[field.name], hints[field.name], f"{name}.{field.name}") for field in known
    }
    return section(**parsed)
