"""The bill of materials of a version, by CycloneDX's own schema."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tests.conftest import ROOT
from tests.registry.workspace import make_sources
from tests.serving.live import make_version
from tests.serving.small_service import BASE, NEW
from udml.files import read_json, write_json
from udml.registry import store
from udml.registry.bundle import Sources, record
from udml.registry.describing.bom import BOM_FILE
from udml.registry.describing.packages import packages_of
from udml.serving.engine.compaction import compact
from udml.serving.engine.searcher import Searcher

FIGURES = {
    "trained": {"leave_one_out": {"map_at_r": 0.41}, "label_free": {"found_again_at_1": 0.5}},
    "frozen": {"leave_one_out": {"map_at_r": 0.3}, "label_free": {"found_again_at_1": 0.4}},
    "difference": {"leave_one_out": {"map_at_r": 0.11, "map_at_r_low": 0.08, "map_at_r_high": 0.14}},
    "ratio": {"map_at_r": 1.37},
}


def valid(directory: Path) -> dict[str, Any]:
    """The file, once the schema has nothing against it."""
    text = (directory / BOM_FILE).read_text()
    wrong = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    assert wrong is None, wrong
    return json.loads(text)


def libraries(bom: dict[str, Any]) -> list[dict[str, Any]]:
    return [one for one in bom["components"] if one["type"] == "library"]


def old_version(root: Path) -> tuple[Path, Path]:
    """A registry, and its champion v1, with images added since."""
    make_version(root, BASE)
    models = root / "models"
    with Searcher.open(models / "versions" / "v1", root / "data", 1) as searcher:
        searcher.add(NEW)
    return models, models / "versions" / "v1"


def change_as_registered(version: Path, files: dict[str, Any]) -> None:
    """As if a version had been registered with these files, or without those that are None."""
    manifest = read_json(version / "bundle.json")
    for name, content in files.items():
        del manifest["files"][name]
        (version / name).unlink()
        if content is not None:
            write_json(version / name, content)
            manifest["files"][name] = vars(record(version / name))
    write_json(version / "bundle.json", manifest)
    log = version.parent.parent / "log.jsonl"  # the registry takes note of versions that it does not know
    log.write_text("".join(line for line in log.open() if '"register"' not in line))


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    sources = make_sources(tmp_path)
    write_json(sources.metrics, FIGURES)
    return replace(sources, packages=ROOT / "requirements.lock")


def test_a_version_says_what_it_is_made_of(sources: Sources, tmp_path: Path) -> None:
    models = tmp_path / "models"
    store.register(models, sources, "abc123")
    bom = valid(models / "versions" / "v1")
    model = bom["metadata"]["component"]
    assert (model["type"], model["version"]) == ("machine-learning-model", "model-0")
    assert "(the weights it started from)" in model["licenses"][0]["license"]["name"]
    bundle = store.verify(models, "v1")
    assert model["hashes"][0]["content"] == bundle.files["model.onnx"].sha256
    assert BOM_FILE in bundle.files
    [data] = [one for one in bom["components"] if one["type"] == "data"]
    assert data["version"] == bundle.data_version
    locked = libraries(bom)
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    assert len(locked) == len([line for line in lines if line[:1].isalnum()])
    assert "required" in {one["scope"] for one in locked if one["name"] == "numpy"}
    assert all(one["purl"].startswith("pkg:pypi/") for one in locked)
    measured = model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    figures = {(one["type"], one["slice"]): one for one in measured}
    assert figures["map_at_r", "trained, leave_one_out"]["value"] == "0.41"
    ends = figures["map_at_r", "difference, leave_one_out"]["confidenceInterval"]
    assert ends == {"lowerBound": "0.08", "upperBound": "0.14"}
    assert ("map_at_r_low", "difference, leave_one_out") not in figures
    refs = {one["bom-ref"] for one in bom["components"]}
    assert set(bom["dependencies"][0]["dependsOn"]) == refs


def test_without_a_lock_file_it_is_what_is_installed(sources: Sources, tmp_path: Path) -> None:
    models = tmp_path / "models"
    store.register(models, replace(sources, packages=tmp_path / "none.lock"))
    bom = valid(models / "versions" / "v1")
    assert {"name": "udml:packages", "value": "installed"} in bom["metadata"]["properties"]
    assert "numpy" in {one["name"] for one in bom["components"]}


def test_a_compacted_version_keeps_the_packages_it_was_trained_with(tmp_path: Path) -> None:
    models, v1 = old_version(tmp_path)
    one = {"type": "library", "bom-ref": "x", "name": "only-this", "version": "1"}
    bom = valid(v1)
    change_as_registered(v1, {BOM_FILE: bom | {"components": [bom["components"][0], one]}})
    assert compact(models, tmp_path / "data") is not None
    assert [one["name"] for one in libraries(valid(models / "versions" / "v2"))] == ["only-this"]


def test_a_version_of_before_there_were_any_serves_and_is_compacted(tmp_path: Path) -> None:
    models, v1 = old_version(tmp_path)
    change_as_registered(v1, {BOM_FILE: None})
    assert compact(models, tmp_path / "data") is not None
    assert libraries(valid(models / "versions" / "v2"))


def test_a_lock_file_is_read_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "requirements.lock"
    path.write_text(
        "# made by\nnumpy==2.4.1 \\\n    --hash=sha256:00\n    # via x\n"
        "Async_Timeout==5.0 ; python_full_version < '3.11.3' \\\n    --hash=sha256:11\nplain==1\nurl @ https://x\n"
    )
    found, named_in = packages_of(path)
    assert named_in == "requirements.lock"
    assert [(one.name, one.version, one.marker) for one in found] == [
        ("numpy", "2.4.1", ""),
        ("async-timeout", "5.0", "python_full_version < '3.11.3'"),
        ("plain", "1", ""),
    ]
