import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT
from tests.fixtures.fakes import write_prepared
from tests.fixtures.models import pictures, warmer
from tests.monitor.workspace import COUNT, make_workspace, save
from udml.cli import main
from udml.errors import UdmlError
from udml.text import printable, source_name


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_workspace(tmp_path_factory.mktemp("workspace"))


@pytest.fixture(autouse=True)
def inside(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workspace)


def test_more_of_the_same_is_no_drift_and_broken_files_are_listed(tmp_path: Path, capsys) -> None:
    folder = save(tmp_path / "new", pictures(60, seed=5))
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff and no more")
    (folder / "notes.txt").write_text("no picture")
    out = tmp_path / "out" / "drift.html"
    assert main(["monitor", str(folder), "--out", str(out)]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("no drift: p = ")
    assert "broken.jpg" in said.err
    result = json.loads(out.with_suffix(".json").read_text())
    assert (result["verdict"], result["images"], result["independent_images"]) == ("no drift", 60, 60)
    assert sorted(Path(p["path"]).name for p in result["problems"]) == ["broken.jpg"]
    assert result["p_value"] > 0.01
    page = out.read_text()
    assert page.count("data:image/jpeg") == len(result["unusual"]) == 24
    assert "broken.jpg" in page


def test_a_colour_cast_is_drift_and_names_what_changed(tmp_path: Path, capsys) -> None:
    warm = warmer(pictures(60, seed=5))
    out = tmp_path / "drift.html"
    assert main(["monitor", str(save(tmp_path / "new", warm)), "--out", str(out)]) == 3
    assert "most of all warmth" in capsys.readouterr().out
    result = json.loads(out.with_suffix(".json").read_text())
    assert (result["verdict"], result["p_value"]) == ("drift", 1 / 2000)
    assert {"warmth"} <= {remark.split()[0] for one in result["unusual"] for remark in one["remarks"]}


def test_a_burst_is_one_piece_of_evidence(tmp_path: Path, capsys) -> None:
    """Forty shots of one strange thing are too few for a verdict, whatever they show."""
    rng = np.random.default_rng(0)
    scene = np.kron(rng.integers(0, 255, (6, 6, 3)), np.ones((6, 6, 1)))
    shots = [np.clip(scene + rng.normal(0, 2, scene.shape), 0, 255).astype(np.uint8) for _ in range(40)]
    out = tmp_path / "drift.html"
    assert main(["monitor", str(save(tmp_path / "new", shots)), "--out", str(out)]) == 4
    assert "1 independent image against 120" in capsys.readouterr().out
    assert json.loads(out.with_suffix(".json").read_text())["verdict"] == "too few"
    assert "Too few new images" in out.read_text()


def test_the_strangest_image_comes_first(tmp_path: Path) -> None:
    images = pictures(40, seed=5)
    images[17] = np.zeros((28, 28, 3), np.uint8)
    out = tmp_path / "drift.html"
    main(["monitor", str(save(tmp_path / "new", images)), "--out", str(out)])
    first = json.loads(out.with_suffix(".json").read_text())["unusual"][0]
    assert first["path"].endswith("017.png")
    assert any(remark.startswith("brightness 0, usually") for remark in first["remarks"])


def test_a_version_can_be_asked_and_an_unknown_one_is_named(tmp_path: Path, capsys) -> None:
    assert main(["models", "register"]) == 0
    folder = save(tmp_path / "new", pictures(30, seed=5))
    assert main(["monitor", str(folder), "--version", "v1", "--out", str(tmp_path / "drift.html")]) == 0
    assert main(["monitor", str(folder), "--version", "champion"]) == 1
    assert "no champion" in capsys.readouterr().err


def test_what_cannot_be_tested_is_an_error_and_leaves_no_page(tmp_path: Path, capsys) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    out = tmp_path / "drift.html"
    assert main(["monitor", str(tmp_path / "notes.txt"), "--out", str(out)]) == 1
    assert "none of the 1 files is a usable image" in capsys.readouterr().err
    assert main(["monitor", str(tmp_path / "notes.txt"), "--out", str(tmp_path / "drift.json")]) == 1
    assert "does not end in .html" in capsys.readouterr().err
    assert main(["monitor", str(tmp_path / "nothing")]) == 1
    assert not out.exists()


def test_a_level_that_can_never_be_reached_is_refused() -> None:
    import yaml

    from udml.config import parse_params

    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    values["monitor"] |= {"alarm_rate": 0.001, "permutations": 99}
    with pytest.raises(UdmlError, match=r"monitor\.permutations.* can never alarm"):
        parse_params(values)


def test_without_paths_what_was_imported_since_is_tested(workspace: Path, tmp_path: Path, capsys) -> None:
    """The index knows its 120 pictures; `prepare` has seen 60 more, then 30 that are warmer."""
    prepared = workspace / "artifacts" / "prepare"
    before = shutil.copytree(prepared, tmp_path / "before")
    out = tmp_path / "drift.html"
    try:
        assert main(["monitor", "--out", str(out)]) == 4
        assert "0 independent images against 120" in capsys.readouterr().out
        more = pictures(60, seed=5)
        for images, status in ((more, 0), ([*warmer(more[:30])], 3)):
            every = pictures(COUNT) + images
            write_prepared(prepared, every, [None] * len(every), ["train"] * len(every))
            assert main(["monitor", "--out", str(out)]) == status
            result = json.loads(out.with_suffix(".json").read_text())
            assert result["images"] == result["independent_images"] == len(images)
            assert result["summary"] in capsys.readouterr().out
            assert out.read_text().count("data:image/jpeg") == 24
    finally:
        shutil.rmtree(prepared)
        before.rename(prepared)


# Not all are UTF-8; some have an effect on a terminal.
ODD = (
    b"caf\xe9.png",
    b"\xff\xfe.png",
    b"cut \xc3.png",
    b"red \x1b[31m.png",
    b"a\nb.png",
    "\u56fe.png".encode(),
)


def test_names_of_any_bytes_are_embedded_and_monitored(tmp_path: Path, capsys) -> None:
    import pyarrow.parquet as pq

    folder = tmp_path / os.fsdecode(b"m\xfcnchen")
    folder.mkdir()
    for name, image in zip(ODD, pictures(len(ODD), seed=6), strict=True):
        with open(os.path.join(os.fsencode(folder), name), "wb") as file:
            Image.fromarray(image).save(file, "PNG")
    (folder / os.fsdecode(b"broken\xe9.jpg")).write_bytes(b"\xff\xd8\xff and no more")
    table = tmp_path / os.fsdecode(b"t\xe4ble.parquet")
    assert main(["embed", str(folder), "--out", str(table)]) == 0
    said = capsys.readouterr()
    assert "m\\xfcnchen/broken\\xe9.jpg" in said.err
    (said.out + said.err).encode("utf-8")
    paths = [folder / os.fsdecode(name) for name in ODD]
    with table.open("rb") as file:
        stored = pq.read_table(file)["path"].to_pylist()
    assert sorted(stored) == sorted(source_name(str(path)) for path in paths)
    expected = sorted(printable(path) for path in paths)
    out = tmp_path / os.fsdecode(b"dr\xeeft.html")
    assert main(["monitor", str(folder), "--out", str(out)]) == 4
    said = capsys.readouterr()
    (said.out + said.err).encode("utf-8")
    result = json.loads(out.with_suffix(".json").read_text())
    assert sorted(one["path"] for one in result["unusual"]) == expected
    page = out.read_text(encoding="utf-8")
    assert "caf\\xe9.png" in page
    assert "\x1b" not in page
