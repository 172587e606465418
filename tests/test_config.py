"""The committed configuration itself, and the gate in front of it."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT
from udml.config import LOSS_SETTINGS, load_params, parse_params
from udml.errors import UdmlError

PRESETS = ROOT / "src" / "udml" / "presets"


@pytest.fixture
def values() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "params.yaml").read_text())


def test_the_committed_params_are_the_laptop_preset() -> None:
    assert (ROOT / "params.yaml").read_text() == (PRESETS / "laptop.yaml").read_text()


def test_the_paper_preset_is_the_papers() -> None:
    train = load_params(PRESETS / "paper.yaml").train
    assert (train.backbone, train.embedding_dim, train.input_px, train.frozen_blocks) == (
        "googlenet",
        512,
        227,
        0,
    )
    assert (train.clusters, train.clusters_per_batch, train.images_per_cluster) == (100, 16, 5)
    assert (train.learning_rate, train.weight_decay, train.steps) == (1e-5, 5e-4, 3750)
    assert (train.crop_area_min, train.crop_area_max) == (0.16, 1.0)
    assert (train.rotation_weight, train.rotation_images) == (0.1, 16)
    expected = {"positive_scale": 2, "negative_scale": 40, "base": 0.5, "mining_margin": 0.1}
    assert train.loss == "multi_similarity"
    assert train.losses["multi_similarity"] == expected
    assert (train.head_start, train.average_decay, train.learning_rate_schedule) == (
        "random",
        0.0,
        "constant",
    )


def test_every_loss_has_its_settings(values: dict[str, Any]) -> None:
    assert {name: tuple(s) for name, s in values["train"]["losses"].items()} == LOSS_SETTINGS


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("train", "loss", "multi_similarit", "did you mean multi_similarity"),
        ("train", "steps", 0, "train.steps is 0: it must be `auto` or a whole number of at least 1"),
        ("train", "steps", "many", "must be `auto` or a whole number"),
        ("train", "steps", True, "train.steps is True, expected int"),
        ("train", "steps", 1.5, "train.steps is 1.5, expected int"),
        ("train", "budget_minutes", 0, "must be null (no bound) or a number of minutes above 0"),
        ("train", "budget_minutes", float("nan"), "must be null (no bound) or a number of minutes above 0"),
        ("train", "budget_minutes", "5m", "train.budget_minutes is '5m', expected float"),
        ("train", "max_passes", 0, "must be null (no bound) or a number above 0"),
        ("train", "max_passes", float("inf"), "must be null (no bound) or a number above 0"),
        ("export", "looks", 0, "must be between 1 and 2"),
        ("export", "looks", 3, "must be between 1 and 2"),
        ("export", "looks", "two", "export.looks is 'two', expected int"),
        ("train", "pretrained", 1, "train.pretrained is 1, expected bool"),
        ("train", "clusters", "lots", "must be `auto` or a whole number"),
        ("train", "clusters", 8, "must be at least clusters_per_batch"),
        ("train", "rotation_images", 81, "must be between 1 and 80"),
        ("train", "crop_area_min", 1.5, "must be between 0 and 1"),
        ("train", "crop_share", 0, "must be above 0"),
        ("train", "view_ratio", 0.9, "must be between 1 and 10"),
        ("train", "device", "tpu", "must be one of auto, cpu, cuda, mps"),
        ("train", "head_start", "pcb", "did you mean pca"),
        ("train", "tuning", "lore", "did you mean lora"),
        ("prepare", "test_share", -0.1, "must be between 0 and 1"),
        ("validate", "brightness_min", 250.0, "must be below brightness_max"),
        ("export", "opset", 17, "must be between 18 and 25"),
        ("index", "exact_below", 10**9, "must be at most hnsw_below"),
        ("evaluate", "recall_at", [2, 4], "that starts with 1"),
        ("evaluate", "recall_at", "1", "expected"),
    ],
)
def test_bad_values_are_refused_by_name(
    values: dict[str, Any], section: str, key: str, value: Any, message: str
) -> None:
    values[section][key] = value
    with pytest.raises(UdmlError, match=f"{section}.{key}") as caught:
        parse_params(values)
    assert message in str(caught.value)


def test_a_file_from_before_tuning_still_works(values: dict[str, Any]) -> None:
    for key in ("tuning", "weights", "weights_licence"):
        del values["train"][key]
    assert parse_params(values) == load_params(ROOT / "params.yaml")


def test_a_licence_without_a_file_of_weights_is_refused(values: dict[str, Any]) -> None:
    values["train"]["weights_licence"] = "MIT"
    with pytest.raises(UdmlError, match=r"train\.weights_licence.*names no file"):
        parse_params(values)


def test_contradicting_crop_areas_are_refused(values: dict[str, Any]) -> None:
    values["train"] |= {"crop_area_min": 0.9, "crop_area_max": 0.5}
    with pytest.raises(UdmlError, match="crop_area_min"):
        parse_params(values)


def test_unknown_and_missing_keys_are_refused(values: dict[str, Any]) -> None:
    misspelt = copy.deepcopy(values)
    misspelt["train"]["learning_rat"] = misspelt["train"].pop("learning_rate")
    with pytest.raises(UdmlError, match="unknown key `learning_rat`\n  -> did you mean `learning_rate`"):
        parse_params(misspelt)
    del values["index"]
    with pytest.raises(UdmlError, match="missing key `index`"):
        parse_params(values)


def test_settings_from_before_there_were_two_looks_look_once(values: dict[str, Any]) -> None:
    del values["export"]["looks"]
    assert parse_params(values).export.looks == 1


def test_settings_from_before_longer_views_see_a_square(values: dict[str, Any]) -> None:
    del values["train"]["view_ratio"]
    assert parse_params(values).train.view_ratio == 1


def test_unknown_loss_settings_are_refused(values: dict[str, Any]) -> None:
    values["train"]["losses"]["contrastive"]["margin"] = 0.1
    with pytest.raises(UdmlError, match=r"train.losses.contrastive: unknown key `margin`"):
        parse_params(values)


def test_files_that_are_not_params_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UdmlError, match="run udml from the top of the project"):
        load_params(tmp_path / "params.yaml")
    (tmp_path / "broken.yaml").write_text("a: [1")
    with pytest.raises(UdmlError, match="is not YAML"):
        load_params(tmp_path / "broken.yaml")
    (tmp_path / "empty.yaml").write_text("")
    with pytest.raises(UdmlError, match="expected keys and values"):
        load_params(tmp_path / "empty.yaml")


def test_dvc_yaml_names_only_what_exists() -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    sections = set(yaml.safe_load((ROOT / "params.yaml").read_text()))
    outputs = {"data"}
    for name, stage in stages.items():
        assert stage["cmd"] == f"udml {name}"
        assert stage["params"] == [name]
        assert name in sections
        for dependency in stage["deps"]:
            made = any(dependency == out or dependency.startswith(out + "/") for out in outputs)
            assert made or (ROOT / dependency).exists(), dependency
        for kind in ("outs", "metrics", "plots"):
            outputs |= {next(iter(out)) if isinstance(out, dict) else out for out in stage.get(kind, [])}
    assert list(stages) == ["prepare", "validate", "train", "export", "index", "evaluate"]


@pytest.mark.parametrize(
    "text",
    [
        "[" * 5_000, "- " * 3_000, "a: 2001-99-99", "a: 2001-01-01T25:00:00Z", "a: !!int x", "a: !!float x",
        "a: !!timestamp x", "a: !!bool x", "a: -0x_", "a: " + "9" * 5_000, "a: !!python/object:x {}",
        "\x00", "? ",
    ],
    ids=lambda text: text[:20],
)  # fmt: skip
def test_what_yaml_itself_stumbles_over_is_one_sentence(text: str, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(UdmlError, match=r"params\.yaml"):
        load_params(path)
