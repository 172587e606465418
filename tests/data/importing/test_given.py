"""Columns of a manifest that udml itself does not read: kept, by type, up to the columns beside an index."""

from datetime import datetime
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from PIL import Image

from udml.config import Prepare
from udml.data.catalog import read_catalog
from udml.data.importing.given import NO_VALUES, ODD_NAMES, OWN, TAKEN_NAMES, TOO_MANY, kind_of, value_of
from udml.data.importing.importer import import_data
from udml.data.importing.manifest import given_fields, read_manifest
from udml.data.prepare import prepare
from udml.search.columns import Columns, value_at
from udml.search.columns.catalogue import columns_of_catalog

PARAMS = Prepare(
    store_short_side_px=64, min_side_px=4, max_pixels=10_000, test_share=0.5, duplicate_max_bits=4,
    duplicate_min_correlation=0.98, seed=0,
)  # fmt: skip
SECONDS = 1_717_178_829  # 2024-05-31 18:07:09


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    tags = Image.Exif()
    tags.update({0x010F: "Canon", 0x0132: "2024:05:31 18:07:09"})
    for number, name in enumerate(("a.jpg", "2024/b.jpg", "2024/may/c.jpg")):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        picture = Image.radial_gradient("L").rotate(40 * number).resize((40, 30))
        picture.save(tmp_path / "photos" / name, exif=tags if number else b"")
    return tmp_path / "photos"


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        (["1", "-2.5", None, "1e3", "+.5"], "number"),
        (["0", "10", "9" * 15], "number"),
        (["007", "1"], "text"),
        (["1" * 17], "text"),  # a name: as a float it would be another
        (["1,5"], "text"),
        (["nan"], "text"),
        (["1e999"], "text"),
        (["\u0661"], "text"),
        (["1998", "2001"], "number"),
        (["2024-05-31", "2024-05-31 18:07", None], "time"),
        (["2024-05-31T18:07:09.5+02:00", "2024-05-31T18:07Z"], "time"),
        (["2024:05:31 18:07:09"], "time"),
        (["2024-05-31", "soon"], "text"),
        (["2024-02-30"], "text"),
        (["2024-05:31"], "text"),
        ([None, None], "text"),
        (["+", "-"], "text"),
    ],
)
def test_what_a_column_is(texts: list[str | None], kind: str) -> None:
    assert kind_of(texts) == kind


def test_values_of_cells() -> None:
    assert value_of("1e3", "number") == 1000.0
    assert value_of("2024-05-31T18:07:09+02:00", "time") == SECONDS
    assert value_of("1650-01-01", "time") == -10098172800
    assert value_of("x", "text") == "x"
    assert value_of(None, "number") is None


def all_values(columns: Columns) -> dict[str, list[object]]:
    return {name: [value_at(column, row) for row in range(len(column))] for name, column in columns.items()}


def prepared_columns(photos: Path) -> Columns:
    prepare(photos.parent / "data", photos.parent / "out", PARAMS)
    return columns_of_catalog(read_catalog(photos.parent / "out"))


def test_from_a_csv_to_the_columns_of_an_index(photos: Path) -> None:
    (photos / "list.csv").write_text(
        "path,label,price,title,made,empty,folder\n"
        "a.jpg,x,12,Ärmel ,2024-05-31,,f\n"
        "2024/b.jpg,,1.5,,2024-05-31 18:07:09,,f\n"
        "2024/may/c.jpg,y,,Hut,,,f\n"
    )
    summary = import_data(photos / "list.csv", None, photos.parent / "data")
    assert summary.remarks == [f"left out 1 {TAKEN_NAMES}, first folder"]
    found = all_values(prepared_columns(photos))
    assert list(found) == ["folder", "taken", "camera", "label", "price", "title", "made", "empty"]
    assert found == {
        "folder": ["", "2024", "2024/may"],
        "taken": [None, SECONDS, SECONDS],
        "camera": [None, "Canon", "Canon"],
        "label": ["x", None, "y"],
        "price": [12.0, 1.5, None],
        "title": ["Ärmel", None, "Hut"],
        "made": [SECONDS - 18 * 3600 - 7 * 60 - 9, SECONDS, None],
        "empty": [None, None, None],
    }


def test_from_parquet_by_the_same_rule(photos: Path) -> None:
    table = pd.DataFrame(
        {
            "path": ["a.jpg", "2024/b.jpg", "2024/may/c.jpg"],
            "count": [1, 2, 3],
            "made": [datetime(2024, 5, 31, 18, 7, 9), None, None],
            "sold": [True, False, None],
            "kind": pd.Categorical(["a", "b", "a"]),
            "bytes": [b"1", b"2", b"3"],
            "list": [[1], [2], [3]],
        }
    )
    table.to_parquet(photos / "list.parquet")
    summary = import_data(photos / "list.parquet", None, photos.parent / "data")
    assert summary.remarks == [f"left out 2 {NO_VALUES}, first bytes"]
    fields = given_fields(read_manifest(photos.parent / "data").schema)
    assert [(field.name, field.type) for field in fields] == [
        ("given.count", pa.float64()),
        ("given.made", pa.timestamp("ms")),  # Parquet knows no whole seconds
        ("given.sold", pa.string()),
        ("given.kind", pa.string()),
    ]
    found = all_values(prepared_columns(photos))
    assert found["made"] == [SECONDS, None, None]
    assert found["sold"] == ["true", "false", None]


def test_names_that_are_not_kept_are_said(photos: Path) -> None:
    names = [*OWN, "x" * 65, "", *(f"c{number}" for number in range(70))]
    line = ",".join(["a.jpg"] + ["1"] * len(names))
    (photos / "list.csv").write_text(",".join(["path", *names]) + f"\n{line}\n")
    summary = import_data(photos / "list.csv", None, photos.parent / "data")
    assert sorted(summary.remarks) == sorted(
        [
            f"left out 3 {TAKEN_NAMES}, first folder",
            f"left out 2 {ODD_NAMES}, first {'x' * 65}",
            f"left out 6 {TOO_MANY}, first c64",
        ]
    )


def test_the_data_version_follows_values_and_stays_without_columns(photos: Path) -> None:
    def version(text: str) -> str:
        (photos / "list.csv").write_text(text)
        return import_data(photos / "list.csv", None, photos.parent / "data").data_version

    assert version("path,price\na.jpg,1\n") != version("path,price\na.jpg,2\n")
    assert (
        version("path\na.jpg\n")
        == import_data(photos / "list.csv", None, photos.parent / "data").data_version
    )


def test_a_catalogue_of_before_has_folders_and_labels(photos: Path) -> None:
    import_data(photos, "plain", photos.parent / "data")
    prepare(photos.parent / "data", photos.parent / "out", PARAMS)
    catalog = read_catalog(photos.parent / "out").drop(columns=["folder", "taken", "camera"])
    found = all_values(columns_of_catalog(catalog))
    assert found["folder"] == ["2024", "2024/may", ""]
    assert found["taken"] == found["camera"] == found["label"] == [None] * 3
