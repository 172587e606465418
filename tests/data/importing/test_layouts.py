import csv
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.io import savemat

from udml.data.importing.layouts import LAYOUT_NAMES, Item, base, read_layout
from udml.errors import UdmlError
from udml.pixels import Reason
from udml.walking.rules import WalkRules
from udml.walking.walk import Found, LeftOut, walk

GROCERY = Path(__file__).parents[4] / "shared" / "data" / "grocery"


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def write(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def facts(items: object) -> list[tuple[str, str | None, str, str | None]]:
    return [(item.source, item.split, item.role, item.label) for item in items]  # type: ignore[attr-defined]


# --- folders


@pytest.mark.parametrize(
    "names",
    [
        ("a.png", "b/c.png"),
        ("a/1.png", "a/2.png", "b/1.png", "b/2.png"),
        ("a/1.png", "b/1.png", "c/1.png"),  # one each: what speaks against classes is known in the end
        ("train/a/1.png", "val/a/2.png"),
        ("train/a/1.png", "val/a/2.png", "z/0.png"),
    ],
)
@pytest.mark.parametrize("layout", [None, "plain", "classes"])
def test_a_folder_is_walked_once(
    names: tuple[str, ...], layout: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, *names, ".hidden", "Thumbs.db")
    walks: list[Path] = []

    def counted(root: Path, rules: WalkRules, left_out: LeftOut) -> Iterator[Found]:
        walks.append(root)
        return walk(root, rules, left_out)

    monkeypatch.setattr(base, "walk", counted)
    found = read_layout(tmp_path, layout)
    assert found.because
    assert sorted(item.source for item in found.items) == sorted(names)
    assert found.left_out.counts.total() == 2  # each once
    assert walks == [tmp_path]


def test_plain_takes_every_file_at_any_depth_in_a_fixed_order_but_hidden_ones(tmp_path: Path) -> None:
    touch(
        tmp_path, "b.jpg", "a/deep/er.png", "a/notes.txt", ".hidden.jpg", ".git/x.jpg", "a/.DS_Store", "Z.jpg"
    )
    layout = read_layout(tmp_path)
    assert layout.name == "plain"
    assert facts(layout.items) == [(name, None, "both", None) for name in ("Z.jpg", "a/deep/er.png", "b.jpg")]


def test_unusual_names_survive(tmp_path: Path) -> None:
    touch(tmp_path, "with space.jpg", "ünïcödé 图.jpg", "line\nbreak.jpg")
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/bad\xff.jpg"))).write_bytes(b"x")
    items = list(read_layout(tmp_path).items)
    assert {item.source for item in items} == {
        "with space.jpg",
        "ünïcödé 图.jpg",
        "line\nbreak.jpg",
        "bad\\xff.jpg",
    }
    assert all(item.path.read_bytes() == b"x" for item in items)
    for item in items:
        item.source.encode("utf-8")


def test_links_pipes_and_loops(tmp_path: Path) -> None:
    touch(tmp_path / "outside", "far.jpg")
    root = touch(tmp_path / "root", "a.jpg")
    (root / "link.jpg").symlink_to(root / "a.jpg")
    (root / "dangling.jpg").symlink_to(root / "nothing.jpg")
    (root / "folder").symlink_to(tmp_path / "outside")
    (root / "loop").symlink_to(root)
    os.mkfifo(root / "pipe.jpg")
    items = {item.source: item.problem for item in read_layout(root).items}
    assert items == {"a.jpg": None, "link.jpg": None, "dangling.jpg": Reason.MISSING}


def test_a_folder_that_cannot_be_listed_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "a.jpg", "locked/b.jpg")
    scandir = os.scandir

    def guarded(path: str) -> object:
        if "locked" in str(path):
            raise PermissionError(13, "denied")
        return scandir(path)

    monkeypatch.setattr("udml.walking.walk.os.scandir", guarded)
    items = {item.source: item.problem for item in read_layout(tmp_path, "plain").items}
    assert items == {"a.jpg": None, "locked/": Reason.UNREADABLE}


def test_one_folder_per_class(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "cat/1.jpg",
        "cat/2.JPG",
        "dog/1.png",
        "dog/2.png",
        "rare/1.png",
        "readme.txt",
        "cat/sub/x.txt",
    )
    layout = read_layout(tmp_path)
    assert layout.name == "classes"
    labels = {item.source: item.label for item in layout.items}
    assert labels["cat/2.JPG"] == "cat"
    assert labels["rare/1.png"] == "rare"
    assert "readme.txt" not in labels
    assert read_layout(tmp_path, "plain").name == "plain"


@pytest.mark.parametrize(
    "names",
    [
        ("cat/1.jpg", "cat/2.jpg", "dog/1.jpg", "dog/2.jpg", "loose.jpg"),
        ("cat/1.jpg", "cat/2.jpg", "dog/deep/1.jpg", "dog/2.jpg"),
        ("cat/1.jpg", "cat/2.jpg", "dog/1.jpg"),
        ("train/1.jpg", "train/2.jpg", "test/1.jpg", "test/2.jpg"),
        ("a.txt", "b.txt"),
    ],
)
def test_in_doubt_a_folder_is_plain(names: tuple[str, ...], tmp_path: Path) -> None:
    assert read_layout(touch(tmp_path, *names)).name == "plain"


# --- manifests


def rows_to_csv(path: Path, header: list[str], rows: list[list[str]]) -> None:
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file).writerows([header, *rows])


def test_csv_manifest(tmp_path: Path) -> None:
    rows = [
        ["a b.jpg", "cat", "train", ""],
        ["sub/c,d.jpg", "", "test", "query"],
        ["e\nf.jpg", "nan", "", "gallery"],
    ]
    rows_to_csv(tmp_path / "list.csv", ["path", "label", "split", "role"], rows)
    layout = read_layout(tmp_path / "list.csv")
    assert facts(layout.items) == [
        ("a b.jpg", "train", "both", "cat"),
        ("sub/c,d.jpg", "test", "query", None),
        ("e\nf.jpg", None, "gallery", "nan"),
    ]
    assert next(iter(read_layout(tmp_path / "list.csv").items)).path == tmp_path / "a b.jpg"


def test_parquet_manifest_in_a_folder_with_numbers_and_nulls(tmp_path: Path) -> None:
    table = pd.DataFrame({"path": ["a.jpg", "b.jpg"], "label": [3.0, None], "price": [1, 2]})
    table.to_parquet(tmp_path / "manifest.parquet")
    layout = read_layout(tmp_path)
    assert layout.name == "manifest"
    assert facts(layout.items) == [("a.jpg", None, "both", "3"), ("b.jpg", None, "both", None)]


@pytest.mark.parametrize(
    ("header", "row", "message"),
    [
        (["file"], ["a.jpg"], "no column `path`"),
        (["path", "lable"], ["a.jpg", "x"], "did you mean `label`"),
        (["path", "split"], ["a.jpg", "val"], "row 1: split is `val`"),
        (["path", "role"], ["a.jpg", "probe"], "row 1: role is `probe`"),
        (["path", "label"], ["", "x"], "row 1: no path"),
    ],
)
def test_wrong_manifests_name_row_and_column(
    header: list[str], row: list[str], message: str, tmp_path: Path
) -> None:
    rows_to_csv(tmp_path / "m.csv", header, [row])
    with pytest.raises(UdmlError, match=message):
        list(read_layout(tmp_path / "m.csv").items)


@pytest.mark.parametrize(
    ("name", "content"), [("m.csv", b"path\n\xff\xfe.jpg\n"), ("m.parquet", b"nothing"), ("e.csv", b"")]
)
def test_unreadable_manifests(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UdmlError, match=name):
        list(read_layout(tmp_path / name).items)


# --- published benchmarks


def make_cub(root: Path) -> None:
    write(root / "images.txt", "1 001.A/a.jpg", "2 100.B/b.jpg", "3 101.C/c.jpg")
    write(root / "image_class_labels.txt", "1 1", "2 100", "3 101")
    write(root / "classes.txt", "1 001.A", "100 100.B")


def make_cars(root: Path) -> None:
    kinds = [("relative_im_path", "O"), ("class", "i4"), ("test", "u1")]
    rows = [("car_ims/000001.jpg", 1, 0), ("car_ims/000002.jpg", 98, 1), ("car_ims/000003.jpg", 99, 0)]
    names = np.array([f"Car {number}" for number in range(1, 197)], dtype=object)
    savemat(
        root / "cars_annos.mat", {"annotations": np.array([rows], dtype=kinds), "class_names": names[None]}
    )


def make_cars_devkit(root: Path) -> None:
    (root / "devkit").mkdir()
    kinds = [("fname", "O"), ("class", "i4")]
    names = np.array([f"Car {number}" for number in range(1, 197)], dtype=object)
    savemat(root / "devkit/cars_meta.mat", {"class_names": names[None]})
    for name, rows in (
        ("cars_train_annos", [("00001.jpg", 1), ("00002.jpg", 98)]),
        ("cars_test_annos_withlabels", [("00001.jpg", 99)]),
    ):
        savemat(root / f"devkit/{name}.mat", {"annotations": np.array([rows], dtype=kinds)})


def make_sop(root: Path) -> None:
    heading = "image_id class_id super_class_id path"
    write(root / "Ebay_train.txt", heading, "1 1 1 bicycle_final/a_0.JPG")
    write(root / "Ebay_test.txt", heading, "2 11319 1 chair_final/b_0.JPG")


def make_inshop(root: Path) -> None:
    lines = [
        "img/W/id_1/a.jpg id_1 train",
        "img/W/id_2/b.jpg    id_2  query",
        "img/W/id_2/c.jpg id_2 gallery",
    ]
    write(root / "Eval/list_eval_partition.txt", "3", "image_name item_id evaluation_status", *lines)
    (root / "Img/img").mkdir(parents=True)


def make_grocery(root: Path) -> None:
    write(root / "classes.csv", "Class Name (str),Class ID (int),Coarse", "Apple,40,x", "Pear,41,y")
    write(root / "train.txt", "train/a.jpg, 40, 0", "train/p.jpg, 41, 0")
    write(root / "val.txt", "val/p.jpg, 41, 0")
    write(root / "test.txt", "test/a.jpg, 40, 0", "test/p.jpg, 41, 0", "test/q.jpg, 77, 0")


BENCHMARKS: dict[str, tuple[Callable[[Path], None], str, list[tuple[str, str, str, str]]]] = {
    "cub": (
        make_cub,
        "cub",
        [
            ("images/001.A/a.jpg", "train", "both", "001.A"),
            ("images/100.B/b.jpg", "train", "both", "100.B"),
            ("images/101.C/c.jpg", "test", "both", "101"),
        ],
    ),
    "cars": (
        make_cars,
        "cars",
        [
            ("car_ims/000001.jpg", "train", "both", "Car 1"),
            ("car_ims/000002.jpg", "train", "both", "Car 98"),
            ("car_ims/000003.jpg", "test", "both", "Car 99"),
        ],
    ),
    "cars devkit": (
        make_cars_devkit,
        "cars",
        [
            ("cars_train/00001.jpg", "train", "both", "Car 1"),
            ("cars_train/00002.jpg", "train", "both", "Car 98"),
            ("cars_test/00001.jpg", "test", "both", "Car 99"),
        ],
    ),
    "sop": (
        make_sop,
        "sop",
        [("bicycle_final/a_0.JPG", "train", "both", "1"), ("chair_final/b_0.JPG", "test", "both", "11319")],
    ),
    "inshop": (
        make_inshop,
        "inshop",
        [
            ("img/W/id_1/a.jpg", "train", "both", "id_1"),
            ("img/W/id_2/b.jpg", "test", "query", "id_2"),
            ("img/W/id_2/c.jpg", "test", "gallery", "id_2"),
        ],
    ),
    "grocery": (
        make_grocery,
        "grocery",
        [
            ("train/a.jpg", "train", "both", "Apple"),
            ("train/p.jpg", "test", "gallery", "Pear"),
            ("val/p.jpg", "test", "gallery", "Pear"),
            ("test/a.jpg", "train", "both", "Apple"),
            ("test/p.jpg", "test", "query", "Pear"),
            ("test/q.jpg", "test", "query", "77"),
        ],
    ),
}


@pytest.mark.parametrize("case", list(BENCHMARKS))
def test_published_layouts_are_detected_and_read(case: str, tmp_path: Path) -> None:
    make, name, expected = BENCHMARKS[case]
    make(tmp_path)
    layout = read_layout(tmp_path)
    assert layout.name == name
    assert layout.protocol.startswith(name)
    assert facts(layout.items) == expected
    assert facts(read_layout(tmp_path, name).items) == expected


def test_inshop_images_are_found_under_img(tmp_path: Path) -> None:
    make_inshop(tmp_path)
    items: list[Item] = list(read_layout(tmp_path).items)
    assert items[0].path == tmp_path / "Img/img/W/id_1/a.jpg"


@pytest.mark.parametrize("name", [name for name in LAYOUT_NAMES if name not in ("plain", "classes")])
def test_missing_annotations_are_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(UdmlError, match=str(tmp_path)):
        list(read_layout(tmp_path, name).items)


def test_damaged_annotations_name_file_and_line(tmp_path: Path) -> None:
    make_cub(tmp_path)
    write(tmp_path / "images.txt", "1 001.A/a.jpg", "2")
    with pytest.raises(UdmlError, match=r"images\.txt, line 2: expected 2 fields, found 1"):
        list(read_layout(tmp_path).items)
    write(tmp_path / "image_class_labels.txt", "1 one")
    with pytest.raises(UdmlError, match="`one` is not a class id"):
        read_layout(tmp_path)
    write(tmp_path / "image_class_labels.txt", "7 1")
    write(tmp_path / "images.txt", "1 001.A/a.jpg")
    with pytest.raises(UdmlError, match="no class for image 1"):
        list(read_layout(tmp_path).items)


def test_damaged_and_unlabelled_cars(tmp_path: Path) -> None:
    make_cars_devkit(tmp_path)
    kinds = [("fname", "O")]
    unlabelled = np.array([[("00001.jpg",), ("00002.jpg",)]], dtype=kinds)
    savemat(tmp_path / "devkit/cars_test_annos_withlabels.mat", {"annotations": unlabelled})
    with pytest.raises(UdmlError, match="without `class`"):
        list(read_layout(tmp_path).items)
    (tmp_path / "cars_annos.mat").write_bytes(b"nothing")
    with pytest.raises(UdmlError, match=r"cannot read .*cars_annos\.mat"):
        list(read_layout(tmp_path).items)


# --- choosing


def test_wrong_names_and_paths(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    with pytest.raises(UdmlError, match="did you mean `grocery`"):
        read_layout(tmp_path, "groceries")
    with pytest.raises(UdmlError, match="does not exist"):
        read_layout(tmp_path / "no")
    with pytest.raises(UdmlError, match="is a file"):
        read_layout(tmp_path / "a.jpg")
    touch(tmp_path, "m.csv")
    with pytest.raises(UdmlError, match="reads folders"):
        read_layout(tmp_path / "m.csv", "cub")


@pytest.mark.skipif(not GROCERY.is_dir(), reason="the Grocery Store Dataset is not at ../shared/data/grocery")
def test_the_real_grocery_store_dataset() -> None:
    items = list(read_layout(GROCERY).items)
    assert len(items) == 5421
    assert sum(item.split == "train" for item in items) == 3051
    assert len({item.label for item in items if item.split == "train"}) == 41
    assert len({item.label for item in items if item.split == "test"}) == 40
    assert {item.role for item in items if item.source.startswith("test/") and item.split == "test"} == {
        "query"
    }
    assert all(item.path.is_file() for item in items)


# --- labels and lists as people's programs write them


@pytest.mark.parametrize(
    ("train", "other"), [("train", "val"), ("Training", "test"), ("train", "validation")]
)
def test_a_folder_per_split_and_class(tmp_path: Path, train: str, other: str) -> None:
    touch(tmp_path, *(f"{part}/{name}/1.jpg" for part in (train, other) for name in ("cat", "dog")))
    layout = read_layout(tmp_path)
    assert layout.name == "splits"
    assert set(facts(layout.items)) == {
        (f"{part}/{name}/1.jpg", split, "both", name)
        for part, split in ((train, "train"), (other, "test"))
        for name in ("cat", "dog")
    }


def test_validation_trains_where_there_is_a_test_split(tmp_path: Path) -> None:
    touch(tmp_path, "train/cat/1.jpg", "val/cat/2.jpg", "test/cat/3.jpg", "other/4.jpg")
    items = {item.source: (item.split, item.label) for item in read_layout(tmp_path, "splits").items}
    assert items == {
        "train/cat/1.jpg": ("train", "cat"),
        "val/cat/2.jpg": ("train", "cat"),
        "test/cat/3.jpg": ("test", "cat"),
        "other/4.jpg": (None, None),
    }


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("head", ["", "\ufeff", "sep=;\n"])
@pytest.mark.parametrize(
    "header", ["path{}label{}split", " path {} label{} split ", '"path"{}"label"{}"split"']
)
def test_csv_of_every_separator(tmp_path: Path, delimiter: str, head: str, header: str) -> None:
    touch(tmp_path, "a.jpg", "b c.jpg")
    lines = [
        header.format(delimiter, delimiter),
        f"a.jpg{delimiter}cat {delimiter}train",
        f"b c.jpg {delimiter} cat{delimiter} test",
    ]
    for encoding in ("utf-8", "utf-16"):
        text = head + "\n".join(lines) + "\n"
        (tmp_path / "list.csv").write_text(
            text.removeprefix("\ufeff") if "16" in encoding else text, encoding
        )
        assert facts(read_layout(tmp_path / "list.csv").items) == [
            ("a.jpg", "train", "both", "cat"),
            ("b c.jpg", "test", "both", "cat"),
        ]


def test_backslashes_separate_folders_unless_a_file_is_called_so(tmp_path: Path) -> None:
    touch(tmp_path, "a/b/1.jpg", "c\\2.jpg")
    write(tmp_path / "list.csv", "path", "a\\b\\1.jpg", "c\\2.jpg")
    found = list(read_layout(tmp_path / "list.csv").items)
    assert [item.path for item in found] == [tmp_path / "a/b/1.jpg", tmp_path / "c\\2.jpg"]
    assert [item.source for item in found] == ["a/b/1.jpg", "c\\2.jpg"]


@pytest.mark.parametrize("row", ['a.jpg,"cat', '"a.jpg,cat', '"a.jpg","cat'])
def test_a_quote_that_is_not_closed_swallows_no_row(row: str, tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b.jpg")
    write(tmp_path / "list.csv", "path,label", row, "b.jpg,dog", "a.jpg,dog")
    with pytest.raises(UdmlError, match=r"row 1: (path|label) goes over several lines\n  -> close the quote"):
        list(read_layout(tmp_path / "list.csv").items)


@pytest.mark.parametrize("name", ["PATH", "Path", "paths"])
def test_a_column_that_is_nearly_called_path(name: str, tmp_path: Path) -> None:
    write(tmp_path / "list.csv", f"{name},label", "a.jpg,cat")
    with pytest.raises(UdmlError, match="did you mean `path`"):
        list(read_layout(tmp_path / "list.csv").items)


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.string(), pa.large_string()])
def test_parquet_of_every_kind_of_text(tmp_path: Path, kind: pa.DataType) -> None:
    touch(tmp_path, "a.jpg", "ü.jpg")
    names = ["a.jpg", "ü.jpg"]
    values = [name.encode() for name in names] if "binary" in str(kind) else names
    table = pa.table({"path": pa.array(values, kind), " label": pa.array(values, kind)})
    pq.write_table(table, tmp_path / "list.parquet")
    found = facts(read_layout(tmp_path / "list.parquet").items)
    assert found == [(name, None, "both", name) for name in names]


def test_lists_that_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    for name, make in (
        ("grocery", make_grocery),
        ("cub", make_cub),
        ("sop", make_sop),
        ("inshop", make_inshop),
    ):
        root = tmp_path / name
        root.mkdir()
        make(root)
        expected = facts(read_layout(root).items)
        for path in [*root.rglob("*.txt"), *root.rglob("*.csv")]:
            path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
        assert facts(read_layout(root).items) == expected
