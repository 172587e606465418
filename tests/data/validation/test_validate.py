"""The data gate, broken one rule at a time."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from udml.config import Validate
from udml.data.catalog import CATALOG_SCHEMA, QUARANTINE_SCHEMA, store_file
from udml.data.validation.data_docs import readable_offline
from udml.data.validation.rules import catalog_rules
from udml.data.validation.validate import validate
from udml.errors import UdmlError
from udml.files import write_json
from udml.parquet import write_table

PARAMS = Validate(
    min_train_images=20,
    min_test_images=10,
    max_quarantined_share=0.1,
    brightness_min=8.0,
    brightness_max=247.0,
    sharpness_min=1.0,
    min_share_in_range=0.95,
    min_test_classes=2,
)
SUMMARY = {
    "layout": "folder",
    "protocol": "made up",
    "data_version": "0123456789abcdef",
    "store_short_side_px": 32,
    "min_side_px": 24,
    "max_pixels": 1_000_000,
}
ROW_BYTES = 3 * 32 * 40


def sound_catalog() -> pd.DataFrame:
    """40 images of 8 classes, in order; the last 16 images (classes 5 to 7, and one more) test."""
    n = 40
    rows = range(n)
    return pd.DataFrame(
        {
            "image_id": [1000 + row for row in rows],
            "source": [f"class {row // 5}/{row:02d}.jpg" for row in rows],
            "sha256": [f"{row:064x}" for row in rows],
            "format": "JPEG",
            "width": 80,
            "height": 64,
            "split": ["train" if row < 25 else "test" for row in rows],
            "role": "both",
            "label": [f"class {row // 5}" for row in rows],
            "group": [1000 + row for row in rows],
            "brightness": 100.0,
            "sharpness": 500.0,
            "data_shard": 0,
            "data_offset": [512 + 1024 * row for row in rows],
            "size_bytes": 512,
            "store_shard": 0,
            "store_offset": [ROW_BYTES * row for row in rows],
            "store_width": 40,
            "store_height": 32,
        }
    )


def write_prepared(folder: Path, catalog: pd.DataFrame, quarantined: int = 2) -> Path:
    """An artifacts/prepare folder with this catalogue."""
    table = pa.Table.from_pandas(catalog, CATALOG_SCHEMA, preserve_index=False)
    write_table(folder / "catalog.parquet", table.replace_schema_metadata())
    refused = [
        {"image_id": row, "source": f"bad {row}.jpg", "reason": "corrupt", "detail": "d", "size_bytes": 9}
        for row in range(quarantined)
    ]
    write_table(folder / "quarantine.parquet", pa.Table.from_pylist(refused, QUARANTINE_SCHEMA))
    write_json(folder / "summary.json", SUMMARY)
    pixels = store_file(folder, 0)
    pixels.parent.mkdir(parents=True, exist_ok=True)
    with pixels.open("wb") as file:
        file.truncate(40 * ROW_BYTES)
    return folder


def put(column: str, value: object, *rows: int) -> Callable[[pd.DataFrame], None]:
    """A fault: `value` in `column` of `rows`."""

    def spoil(catalog: pd.DataFrame) -> None:
        catalog.loc[list(rows), column] = value

    return spoil


FAULTS = [
    ("unique_ids", put("image_id", 1000, 7), "class 1/07.jpg"),
    ("unique_sources", put("source", "class 0/00.jpg", 7), "class 0/00.jpg"),
    ("valid_sha256", put("sha256", "G" * 64, 3), "class 0/03.jpg"),
    ("valid_sha256", put("sha256", "ab", 3), "class 0/03.jpg (sha256 ab)"),
    ("known_split", put("split", "val", 3), "class 0/03.jpg (split val)"),
    ("known_role", put("role", "querry", 3), "class 0/03.jpg (role querry)"),
    ("max_pixels", put("width", 100_000, 9), "class 1/09.jpg (pixels 6400000)"),
    ("store_bounds", put("store_offset", 1, 9), "class 1/09.jpg"),
    ("store_bounds", put("store_width", 30, 39), "class 0/00.jpg (stored False)"),
    ("groups_disjoint", put("group", 1000, 0, 30), "class 0/00.jpg (group_splits 2)"),
    ("classes_disjoint", put("label", "class 0", 30), "class 0/00.jpg (label_splits 2)"),
    ("brightness", put("brightness", 3.0, 0, 1, 2), "class 0/00.jpg (brightness 3)"),
    ("brightness", put("brightness", 250.0, 0, 1, 2), "class 0/02.jpg (brightness 250)"),
    ("sharpness", put("sharpness", 0.5, 4, 5, 6), "class 0/04.jpg (sharpness 0.5)"),
    ("min_train_images", put("split", "excluded", *range(6)), "train_images is 19"),
    ("min_test_images", put("split", "excluded", *range(31, 40)), "test_images is 6"),
    ("min_test_classes", put("label", "class 5", *range(25, 40)), "test_classes is 1"),
]


def broken_rules(out: Path, required: bool = True) -> list[str]:
    result = json.loads((out / "result.json").read_text())
    return [rule["name"] for rule in result["rules"] if not rule["met"] and rule["required"] == required]


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_sound_catalogue_passes(workspace: Path) -> None:
    prepared = write_prepared(workspace / "prepared", sound_catalog())
    validate(prepared, workspace / "out", PARAMS)
    result = json.loads((workspace / "out" / "result.json").read_text())
    assert result["success"]
    assert broken_rules(workspace / "out") == []
    assert result["figures"] == {
        "quarantined_share": 2 / 42,
        "train_images": 25,
        "test_images": 15,
        "test_classes": 3,
    }
    first = (workspace / "out" / "result.json").read_bytes()
    validate(prepared, workspace / "out", PARAMS)
    assert (workspace / "out" / "result.json").read_bytes() == first
    assert not list(workspace.glob(".scratch/*"))


@pytest.mark.parametrize(("rule", "spoil", "example"), FAULTS, ids=[f"{f[0]}-{f[2]}" for f in FAULTS])
def test_one_fault_breaks_one_rule(
    workspace: Path, rule: str, spoil: Callable[[pd.DataFrame], None], example: str
) -> None:
    catalog = sound_catalog()
    spoil(catalog)
    prepared = write_prepared(workspace / "prepared", catalog)
    with pytest.raises(UdmlError) as caught:
        validate(prepared, workspace / "out", PARAMS)
    assert broken_rules(workspace / "out") == [rule]
    assert f"the data break a rule:\n  rule {rule}: " in caught.value.what
    assert example in caught.value.what
    assert str(workspace / "out" / "docs" / "index.html") in caught.value.hint
    assert (workspace / "out" / "docs" / "index.html").exists()


def test_too_small_images(workspace: Path) -> None:
    catalog = sound_catalog()
    catalog.loc[39, ["width", "height", "store_width", "store_height"]] = [20, 20, 20, 20]
    prepared = write_prepared(workspace / "prepared", catalog)
    with store_file(prepared, 0).open("r+b") as file:
        file.truncate(39 * ROW_BYTES + 3 * 20 * 20)
    with pytest.raises(UdmlError, match=r"rule min_side: .*\n.*39\.jpg \(short_side_px 20\)"):
        validate(prepared, workspace / "out", PARAMS)
    assert broken_rules(workspace / "out") == ["min_side"]


def test_too_many_in_quarantine(workspace: Path) -> None:
    prepared = write_prepared(workspace / "prepared", sound_catalog(), quarantined=9)
    with pytest.raises(
        UdmlError, match=r"rule quarantined_share: at most 10\.0%[^\n]*\n[^\n]*\n *bad 0\.jpg"
    ):
        validate(prepared, workspace / "out", PARAMS)
    assert broken_rules(workspace / "out") == ["quarantined_share"]


def test_a_store_file_that_was_cut(workspace: Path) -> None:
    prepared = write_prepared(workspace / "prepared", sound_catalog())
    store_file(prepared, 0).write_bytes(bytes(ROW_BYTES))
    with pytest.raises(UdmlError, match=r"rule store_bounds: .* 40 of 40 rows do not"):
        validate(prepared, workspace / "out", PARAMS)
    store_file(prepared, 0).unlink()
    with pytest.raises(UdmlError, match="rule store_bounds: "):
        validate(prepared, workspace / "out", PARAMS)


def test_a_lonely_test_image_is_noted_but_does_not_fail(workspace: Path) -> None:
    catalog = sound_catalog()
    put("label", "alone", 39)(catalog)
    validate(write_prepared(workspace / "prepared", catalog), workspace / "out", PARAMS)
    assert broken_rules(workspace / "out") == []
    assert broken_rules(workspace / "out", required=False) == ["test_class_pairs"]
    result = json.loads((workspace / "out" / "result.json").read_text())
    assert result["success"]
    assert result["rules"][-1]["examples"] == ["class 7/39.jpg (test_class_images 1)"]


def test_excluded_images_may_share_group_and_class_with_the_test(workspace: Path) -> None:
    catalog = sound_catalog()
    put("split", "excluded", 0)(catalog)
    put("group", 1000, 0, 30)(catalog)
    put("label", "class 6", 0)(catalog)
    validate(write_prepared(workspace / "prepared", catalog), workspace / "out", PARAMS)


@pytest.mark.parametrize("label", [None, "the only one"])
def test_label_rules_need_labels(workspace: Path, label: str | None) -> None:
    catalog = sound_catalog().assign(label=label)
    validate(write_prepared(workspace / "prepared", catalog), workspace / "out", PARAMS)
    names = {rule["name"] for rule in json.loads((workspace / "out" / "result.json").read_text())["rules"]}
    assert not names & {"classes_disjoint", "min_test_classes", "test_class_pairs"}


def test_several_faults_are_all_told(workspace: Path) -> None:
    prepared = write_prepared(workspace / "prepared", sound_catalog())
    strict = replace(PARAMS, min_train_images=1000, sharpness_min=900.0)
    with pytest.raises(UdmlError) as caught:
        validate(prepared, workspace / "out", strict)
    assert broken_rules(workspace / "out") == ["min_train_images", "sharpness"]
    assert "the data break 2 rules:" in caught.value.what
    assert "40 of 40 rows do not" in caught.value.what
    assert caught.value.what.count("class 0/0") == 5  # the first five rows, not all forty


def test_the_docs_can_be_read_without_a_network(workspace: Path) -> None:
    catalog = sound_catalog()
    put("source", "<img src=x onerror=alert(1)>.jpg", 3)(catalog)
    put("split", "<b>val</b>", 3)(catalog)
    prepared = write_prepared(workspace / "prepared", catalog)
    with pytest.raises(UdmlError):
        validate(prepared, workspace / "out", PARAMS)
    pages = {path.name: path.read_text() for path in (workspace / "out" / "docs").iterdir()}
    assert sorted(pages) == ["figures.html", "images.html", "index.html"]
    for page in pages.values():
        assert "http" not in page
        assert not any(tag in page for tag in ("<script", "<link", "<img", "<b>val"))
        assert page.count("<style>") == 1
    assert "&lt;img src=x onerror=alert(1)&gt;.jpg" in pages["index.html"]
    for rule in catalog_rules(PARAMS, 24, 1_000_000, labelled=True):
        assert rule.sentence in pages["index.html"].replace("&#x27;", "'")
    assert "the split is train, test or excluded" in pages["images.html"]


def test_readable_offline_keeps_what_people_read() -> None:
    page = (
        '<html><head><title>a</title><link href="http://x"><script src="http://y"></script></head><body>'
        '<p>kept</p><a href="../../index.html">home</a><footer>buy</footer></body></html>'
    )
    cleaned = readable_offline(page)
    assert "<p>kept</p>home" in cleaned
    assert not any(word in cleaned for word in ("http", "script", "buy", "../"))


def test_no_catalogue(workspace: Path) -> None:
    with pytest.raises(UdmlError, match="no catalogue"):
        validate(workspace / "prepared", workspace / "out", PARAMS)
