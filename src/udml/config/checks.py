"""What a setting must be; errors that name the key, the value and the mend."""

import difflib
from typing import Any, get_args

from udml.errors import UdmlError


def check_keys(values: Any, names: list[str], where: str) -> None:
    """Refuse what is not a dictionary of exactly these names."""
    if not isinstance(values, dict):
        raise UdmlError(
            f"{where}: expected keys and values, found {values!r}", "see the comments in params.yaml"
        )
    for key in values:
        if key not in names:
            near = difflib.get_close_matches(str(key), names, 1)
            known = f"did you mean `{near[0]}`?" if near else f"known keys: {', '.join(names)}"
            raise UdmlError(f"{where}: unknown key `{key}`", known)
    missing = [name for name in names if name not in values]
    if missing:
        raise UdmlError(f"{where}: missing key `{missing[0]}`", "`udml preset laptop` prints a complete file")


def convert(value: Any, hint: Any, name: str) -> Any:
    """Check `value` against a field's type: bool, int, float, str, one of two, or a tuple of int or str."""
    if (hint is float or float in get_args(hint)) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint in (tuple[int, ...], tuple[str, ...]):
        if isinstance(value, list | tuple) and all(type(item) is get_args(hint)[0] for item in value):
            return tuple(value)
    elif hint == dict[str, dict[str, float]] or type(value) in (get_args(hint) or (hint,)):
        return value
    raise UdmlError(
        f"{name} is {value!r}, expected {getattr(hint, '__name__', hint)}", "mend it in params.yaml"
    )


def invalid(section: object, key: str, rule: str) -> UdmlError:
    """What is wrong with one key of a section."""
    name = f"{type(section).__name__.lower()}.{key}"
    return UdmlError(f"{name} is {getattr(section, key)!r}: it {rule}", "mend it in params.yaml")


def positive(section: object, *keys: str) -> None:
    """Refuse values of 0 or less."""
    for key in keys:
        if getattr(section, key) <= 0:
            raise invalid(section, key, "must be above 0")


def share(section: object, *keys: str) -> None:
    """Refuse values outside 0..1."""
    for key in keys:
        if not 0 <= getattr(section, key) <= 1:
            raise invalid(section, key, "must be between 0 and 1")


def within(section: object, key: str, low: int, high: int) -> None:
    """Refuse a value outside low..high."""
    if not low <= getattr(section, key) <= high:
        raise invalid(section, key, f"must be between {low} and {high}")


def one_of(section: object, key: str, names: tuple[str, ...]) -> None:
    """Refuse a value that is not one of the names; a near one is suggested."""
    if getattr(section, key) not in names:
        near = difflib.get_close_matches(str(getattr(section, key)), names, 1)
        raise invalid(
            section,
            key,
            f"must be one of {', '.join(names)}" + (f"; did you mean {near[0]}?" if near else ""),
        )
