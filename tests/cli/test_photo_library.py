"""A photo library as it lies on a NAS, from import to search: photos count, what lies among them does not."""

from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.cli.driven import save
from tests.conftest import ROOT
from tests.fixtures.models import tiny_card, write_model
from udml.cli import main
from udml.files import read_json

ONE_SCREEN = 24
PHOTOS = ("IMG_0001.jpg", "IMG_0002.JPG", "IMG_0002(1).jpg", "DSC 3.png")


def make_album(album: Path, seed: int) -> None:
    """Four photos, among all that cameras, phones, Google Takeout, Picasa, Synology and browsers leave."""
    album.mkdir(parents=True)
    save(album, PHOTOS, seed=seed)
    for name in PHOTOS:
        (album / f"{name}.supplemental-metadata.json").write_text('{"title": "' + name + '"}')
        thumbnails = album / "@eaDir" / name
        thumbnails.mkdir(parents=True)
        save(thumbnails, ("SYNOFILE_THUMB_XL.jpg", "SYNOPHOTO_THUMB_M.jpg"), seed=seed)
    (album / "metadata.json").write_text("{}")
    (album / "IMG_0002.MOV").write_bytes(b"\0\0\0\x14ftypqt  " + bytes(100))
    (album / "IMG_0001.xmp").write_text("<x:xmpmeta/>")
    (album / "IMG_0001.AAE").write_text("<plist/>")
    (album / ".picasa.ini").write_text("[Picasa]")
    save(album / ".picasaoriginals", PHOTOS[:2], seed=seed)
    for name in ("Thumbs.db", ".DS_Store", "desktop.ini", "._IMG_0001.jpg"):
        (album / name).write_bytes(b"\x00\x05\x16\x07 no picture")
    (album / "notes.pdf").write_bytes(b"%PDF-1.7 no picture")


@pytest.mark.parametrize("albums", [3, 25])
def test_a_library_from_import_to_search(
    albums: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    library = tmp_path / "photo"
    folders = ["Takeout/Google Photos/Photos from 2019", "2023/Summer/Island", *map(str, range(albums - 2))]
    for seed, folder in enumerate(folders):
        make_album(library / folder, seed)
    save(library / "#recycle", ("old.jpg",), seed=999)
    (library / "2023" / "cut.jpg").write_bytes((library / folders[0] / PHOTOS[0]).read_bytes()[:700])
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    for file in ("params.yaml", "dvc.yaml"):
        (workspace / file).write_text((ROOT / file).read_text())
    monkeypatch.chdir(workspace)

    assert main(["data", "import", str(library), "--layout", "plain"]) == 0
    said = [line for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert len(said) <= ONE_SCREEN
    told = "\n".join(said)
    for count, what in (
        (5 * albums, "notes of photo programs"),
        (albums, "videos"),
        (albums, "@eaDir"),
        (albums, ".picasaoriginals"),
        (albums, "no pictures"),
        (1, "recycle bins"),
    ):
        assert any(what in line and int(line.split()[2]) >= count for line in said if "left out" in line), (
            told
        )
    assert f"{albums * len(PHOTOS) + 1:,} files" in told

    assert main(["prepare"]) == 0
    prepared = Path("artifacts/prepare")
    quarantine = pq.read_table(prepared / "quarantine.parquet")["source"].to_pylist()
    assert quarantine == ["2023/cut.jpg"]
    kept = set(pq.read_table(prepared / "catalog.parquet")["source"].to_pylist())
    assert kept == {f"{folder}/{name}" for folder in folders for name in PHOTOS}

    made = read_json(prepared / "summary.json")["data_version"]
    write_model(Path("artifacts/export/model.onnx"), replace(tiny_card(), data_version=made))
    assert main(["index"]) == 0
    capsys.readouterr()
    query = library / folders[1] / PHOTOS[2]
    assert main(["search", str(query), "-k", "5", "--all"]) == 0
    found = [
        line.split(None, 2)[2] for line in capsys.readouterr().out.splitlines() if line[:4].strip().isdigit()
    ]
    assert found[0] == f"{folders[1]}/{PHOTOS[2]}"
    assert set(found) <= kept
    assert main(["search", str(library), "-k", "1", "--all"]) == 0
    assert len(capsys.readouterr().err.splitlines()) <= ONE_SCREEN
