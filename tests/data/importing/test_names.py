"""Names that no folder should have: one sentence each, and everything else is imported."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.serving.small_service import BASE
from udml.data.importing.importer import NAMED_AGAIN, NAMED_OTHERWISE, SAME_NAME, import_data
from udml.data.importing.manifest import read_manifest
from udml.pixels import Reason

PICTURES = [data for _, data, _ in BASE]


def imported(path: Path, root: Path) -> tuple[dict[str, object], list[str]]:
    """What there is by name, with its problem, and what was said."""
    summary = import_data(path, None, root / "project" / "data")
    rows = read_manifest(root / "project" / "data").to_pylist()
    assert len({row["image_id"] for row in rows}) == len(rows)
    return {row["source"]: row["problem"] for row in rows}, summary.remarks


NESTED = """
import os, sys
for _ in range(int(sys.argv[1])):
    os.mkdir("d")
    os.chdir("d")
open("a.png", "w").write("x")
"""


@pytest.mark.parametrize(("nested", "unreadable"), [(1_500, False), (2_100, True)])
def test_folders_nested_deeper_than_functions_can_be(tmp_path: Path, nested: int, unreadable: bool) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "z.png").write_bytes(PICTURES[0])
    subprocess.run([sys.executable, "-c", NESTED, str(nested)], cwd=tmp_path / "in", check=True)
    try:
        there, _ = imported(tmp_path / "in", tmp_path)
        (deep,) = set(there) - {"z.png"}
        assert there["z.png"] is None
        assert deep.count("d/") > 1_400
        assert (there[deep], deep.endswith("a.png")) == (
            (Reason.UNREADABLE, False) if unreadable else (None, True)
        )
    finally:
        subprocess.run(["rm", "-rf", "in"], cwd=tmp_path, check=True)  # pytest goes no deeper than functions


RAW = {b"a\xff.png": "a\\xff.png", b"\xe9.png": "\\xe9.png", b"d\xfe/a.png": "d\\xfe/a.png"}


@pytest.mark.parametrize(("raw", "escape"), RAW.items())
def test_a_name_beside_the_one_its_escape_gives(tmp_path: Path, raw: bytes, escape: str) -> None:
    folder = tmp_path / "in"
    for number, name in enumerate((raw, escape.encode(), b"b.png")):
        path = bytes(folder) + b"/" + name
        subprocess.run([b"mkdir", b"-p", path.rpartition(b"/")[0]], check=True)
        with open(path, "wb") as file:
            file.write(PICTURES[number])
    there, said = imported(folder, tmp_path)
    assert there == {escape: None, "b.png": None}
    assert said == [f"left out 1 {SAME_NAME}, first {escape}"]


ROWS = {
    "a.png\n./a.png": ({"a.png"}, NAMED_AGAIN, "a.png"),
    "a.png\na.png\n.//a.png": ({"a.png"}, NAMED_AGAIN, "a.png"),
    "d//b.png\nd/./b.png\na.png": ({"a.png", "d/b.png"}, NAMED_AGAIN, "d/b.png"),
    "a.png,x\na.png,x\nd/b.png,y": ({"a.png", "d/b.png"}, NAMED_AGAIN, "a.png"),
    "a.png,x\n./a.png,y\nd/b.png,y": ({"a.png", "d/b.png"}, NAMED_OTHERWISE, "a.png"),
    "./a.png\nd/../a.png": ({"a.png", "d/../a.png"}, None, ""),  # as links have it, that may be another
}


@pytest.mark.parametrize("rows", ROWS)
def test_a_manifest_that_names_a_file_again(tmp_path: Path, rows: str) -> None:
    (tmp_path / "in" / "d").mkdir(parents=True)
    for name, data in zip(("a.png", "d/b.png"), PICTURES, strict=False):
        (tmp_path / "in" / name).write_bytes(data)
    (tmp_path / "in" / "list.csv").write_text(f"path{',label' * (',' in rows)}\n{rows}\n")
    there, said = imported(tmp_path / "in" / "list.csv", tmp_path)
    names, kind, first = ROWS[rows]
    assert there == dict.fromkeys(names)
    count = len(rows.splitlines()) - len(names)
    assert said == ([f"left out {count} {kind}, first {first}"] if kind else [])
