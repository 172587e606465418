"""Whether a backbone's name is known, said without PyTorch and timm, which take seconds to load.

timm names its models in the text of its own code: a function of that name per model, a quoted
`name.tag` per set of weights.
"""

import difflib
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from udml.errors import UdmlError

NOT_TIMMS = ("googlenet",)  # torchvision's
_MODEL = re.compile(r"^@register_model\n(?:@.*\n)*def (\w+)\(", re.MULTILINE)
_RENAMED = re.compile(r"^register_model_deprecations\(__name__, \{\n(.*?)^\}\)", re.MULTILINE | re.DOTALL)
_OLD_NAME = re.compile(r"^\s*['\"](\w+)['\"]\s*:", re.MULTILINE)
_TAGGED = re.compile(r"['\"](\w+)\.([\w.]+)\*?['\"]")
_SHOWN = 5


def require_backbone(name: str) -> None:
    """Refuse a name that neither timm nor torchvision knows; any will do where timm is not installed.

    Args:
        name: a model's, or `model.tag` for certain weights of it.

    Raises:
        UdmlError: with names that are like it.
    """
    if name in NOT_TIMMS or not (known := model_names()):
        return
    model, _, tag = name.partition(".")
    if model not in known:
        raise unknown_model(name, sorted(known))
    tags = _tags().get(model, [])
    if tag and tags and tag not in tags:
        raise unknown_tag(name, tags)


def unknown_model(name: str, known: list[str]) -> UdmlError:
    """What is said of a name that is no model's."""
    model = name.partition(".")[0]
    near = [one for one in known if model and model in one] or difflib.get_close_matches(model, known, _SHOWN)
    hint = f"close names: {', '.join(near[:_SHOWN])}" if near else "`timm.list_models()` lists them"
    return UdmlError(f"train.backbone: timm knows no model `{name}`", hint)


def unknown_tag(name: str, tags: list[str]) -> UdmlError:
    """What is said of a model's name with weights that it does not have."""
    model, _, tag = name.partition(".")
    listed = ", ".join(f"{model}.{one}" for one in sorted(set(tags))[:_SHOWN])
    return UdmlError(f"train.backbone: timm knows no weights `{tag}` of `{model}`", f"it knows {listed}")


@cache
def model_names() -> frozenset[str]:
    """Names of timm's models, those that it has renamed too; none if they can't be told."""
    text = _timms_text()
    renamed = (name for block in _RENAMED.findall(text) for name in _OLD_NAME.findall(block))
    return frozenset((*_MODEL.findall(text), *renamed))


@cache
def _tags() -> dict[str, list[str]]:
    """Of each name before a dot in quotes, which models' are among, what stands behind it."""
    tags: dict[str, list[str]] = {}
    for name, tag in _TAGGED.findall(_timms_text()):
        tags.setdefault(name, []).append(tag)
    return tags


@cache
def _timms_text() -> str:
    """The code of timm's models; "" where it is not installed."""
    found = find_spec("timm")
    if found is None or not found.submodule_search_locations:
        return ""
    models = Path(found.submodule_search_locations[0]) / "models"
    return "\n".join(
        file.read_text(encoding="utf-8", errors="replace") for file in sorted(models.glob("*.py"))
    )
