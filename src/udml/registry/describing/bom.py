"""bom.json: a version's bill of materials, CycloneDX 1.6, so that others' tools know what is in it.

Written as plain JSON, since compaction registers versions where nothing but what searches is installed; a
test holds it to the schema.
"""

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from udml import __version__
from udml.files import read_json, utc_now
from udml.model_card import ModelCard
from udml.registry.describing.packages import Package, packages_of

BOM_FILE = "bom.json"
_MODEL, _DATA = "model", "data"
_INTERVAL_ENDS = ("_low", "_high")
_USE = "find the images of a collection that are most like a picture"
LIMITS = (
    "It was trained on, and measured with, images of one collection; on pictures of another kind it may do "
    "worse than the backbone it started from. `udml monitor` says whether new images drift.",
    "Alike is what the training found alike: classes that differ in what its random views change (crop, "
    "light, turn) may be mixed up.",
    "It does not recognise people, and no answer of it is a decision about one.",
)


@dataclass(frozen=True)
class Facts:
    """What a bill of materials is made from.

    Attributes:
        name: of the version.
        card: of its model.
        model_sha256: of model.onnx.
        images: in the index.
        data_version: of the imported images in the index.
        git_revision: of the workspace, or "".
    """

    name: str
    card: ModelCard
    model_sha256: str
    images: int
    data_version: str
    git_revision: str


def make_bom(facts: Facts, metrics: Mapping[str, Any], packages: Path | None) -> dict[str, Any]:
    """The bill of materials of a version.

    Args:
        facts: what it is.
        metrics: its metrics.json.
        packages: as for `packages_of`.
    """
    found, named_in = packages_of(packages)
    libraries = [_library(one) for one in found]
    tool = {"type": "application", "name": "udml", "version": __version__}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid4()}",
        "version": 1,
        "metadata": {
            "timestamp": utc_now(),
            "tools": {"components": [tool]},
            "component": _model(facts, metrics),
            "properties": [_property("packages", named_in)],
        },
        "components": [_data(facts), *libraries],
        "dependencies": [
            {"ref": _MODEL, "dependsOn": [_DATA, *dict.fromkeys(one["bom-ref"] for one in libraries)]}
        ],
    }


def _model(facts: Facts, metrics: Mapping[str, Any]) -> dict[str, Any]:
    card = facts.card
    more = {"version": facts.name, "embedding_dim": card.embedding_dim, "input_px": card.input_px}
    more |= {
        "images": facts.images,
        "git_revision": facts.git_revision,
        "weights_sha256": card.weights_sha256,
    }
    return {
        "type": "machine-learning-model",
        "bom-ref": _MODEL,
        "name": "udml-embedding",
        "version": card.model_version,
        "description": f"{_USE}; {card.protocol}",
        "hashes": [{"alg": "SHA-256", "content": facts.model_sha256}],
        "licenses": [
            {"license": {"name": f"{card.weights_licence or 'unknown'} (the weights it started from)"}}
        ],
        "modelCard": _model_card(card, metrics),
        "properties": [_property(key, value) for key, value in more.items() if value != ""],
    }


def _model_card(card: ModelCard, metrics: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "modelParameters": {
            "approach": {"type": "self-supervised"},
            "task": "image retrieval",
            "architectureFamily": card.backbone,
            "modelArchitecture": f"{card.backbone}, linear to {card.embedding_dim}, length 1",
            "datasets": [{"ref": _DATA}],
            "inputs": [{"format": "uint8 [n, h, w, 3], RGB"}],
            "outputs": [{"format": f"float32 [n, {card.embedding_dim}], unit rows"}],
        },
        "quantitativeAnalysis": {"performanceMetrics": list(_metrics(metrics))},
        "considerations": {"useCases": [_USE], "technicalLimitations": list(LIMITS)},
    }


def _metrics(metrics: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every figure of metrics.json; differences with their 95 % intervals."""
    for kind, protocols in metrics.items():
        for protocol, figures in _protocols(kind, protocols):
            for name, value in figures.items():
                if not isinstance(value, int | float) or name.endswith(_INTERVAL_ENDS):
                    continue
                one: dict[str, Any] = {"type": name, "value": str(value), "slice": f"{kind}, {protocol}"}
                ends = [figures.get(name + end) for end in _INTERVAL_ENDS]
                if None not in ends:
                    low, high = map(str, ends)
                    one["confidenceInterval"] = {"lowerBound": low, "upperBound": high}
                yield one


def _protocols(kind: str, found: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """`ratio` is of the main protocol, and has no name for it."""
    nested = {name: figures for name, figures in found.items() if isinstance(figures, Mapping)}
    return list(nested.items()) if nested else [("main", found)]


def _data(facts: Facts) -> dict[str, Any]:
    contents = {"properties": [_property("images", facts.images)]}
    known: dict[str, Any] = {"type": "dataset", "name": "imported images", "contents": contents}
    return {
        "type": "data",
        "bom-ref": _DATA,
        "name": "imported-images",
        "version": facts.data_version,
        "data": [known],
        "properties": [_property("trained_on", facts.card.data_version)],
    }


def _library(package: Package) -> dict[str, Any]:
    """A package; `required` where it was installed when the version was registered."""
    purl = f"pkg:pypi/{package.name}@{package.version}"
    known = {"marker": package.marker, "installed": package.installed}
    properties = [_property(key, value) for key, value in known.items() if value]
    return {
        "type": "library",
        "bom-ref": f"{purl}#{package.marker}" if package.marker else purl,
        "name": package.name,
        "version": package.version,
        "purl": purl,
        "scope": "required" if package.installed == package.version else "optional",
        **({"properties": properties} if properties else {}),
    }


def _property(name: str, value: object) -> dict[str, str]:
    return {"name": f"udml:{name}", "value": str(value)}


def read_bom(directory: Path) -> dict[str, Any] | None:
    """A version's bill of materials; None of one that was registered before there was any."""
    path = directory / BOM_FILE
    return read_json(path) if path.exists() else None
