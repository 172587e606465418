"""The stage `prepare` on small made-up data sets: alignment, quarantine, resuming, determinism."""

import hashlib
import io
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from benchmarks.serving import hostile
from PIL import Image

from udml.compute import local
from udml.config import Prepare
from udml.data import decode_pool, decoding
from udml.data.catalog import CATALOG_SCHEMA, FACTS_SCHEMA, open_store, read_catalog
from udml.data.identity import image_id
from udml.data.importing.manifest import MANIFEST_FILE, MANIFEST_SCHEMA, read_manifest
from udml.data.prepare import prepare
from udml.data.shards import ShardWriter, read_bytes
from udml.data.statistics import sharpness
from udml.errors import UdmlError
from udml.files import fingerprint
from udml.parquet import write_table
from udml.pixels import Budget, decode

PARAMS = Prepare(
    store_short_side_px=48,
    min_side_px=16,
    max_pixels=1_000_000,
    test_share=0.3,
    duplicate_max_bits=6,
    duplicate_min_correlation=0.97,
    seed=0,
)


def photo(seed: int, width: int = 80, height: int = 60, suffix: str = "PNG") -> bytes:
    """A made-up picture as a file."""
    coarse = np.random.default_rng(seed).integers(0, 255, (7, 9, 3)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).save(buffer, suffix)
    return buffer.getvalue()


def write_data(root: Path, files: dict[str, bytes | None], per_shard: int = 4, **columns: list) -> Path:
    """A data folder as `udml data import` leaves it; None stands for a file that is missing."""
    data_root = root / "data"
    rows = []
    with ShardWriter(data_root, max_files=per_shard) as writer:
        for number, (source, data) in enumerate(files.items()):
            key = image_id(source)
            shard, offset = (-1, -1) if data is None else writer.add(key, source, data)
            row = {
                "image_id": key,
                "source": source,
                "sha256": hashlib.sha256(data).hexdigest() if data is not None else None,
                "size_bytes": len(data or b""),
                "shard": shard,
                "offset": offset,
                "role": "both",
                "problem": None if data is not None else "missing",
            }
            rows.append({**row, **{name: values[number] for name, values in columns.items()}})
    facts = {"layout": "folder", "protocol": "made up", "data_version": fingerprint(sorted(files))}
    table = pa.Table.from_pylist(rows, MANIFEST_SCHEMA).replace_schema_metadata(facts)
    write_table(data_root / MANIFEST_FILE, table)
    return data_root


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(local, "usable_cores", lambda: 1)
    return tmp_path


def test_rows_files_and_pixels_stay_aligned(workspace: Path) -> None:
    files: dict[str, bytes | None] = {f"a b/{n}.png": photo(n, 60 + n, 90 - n) for n in range(11)}
    files["a b/broken.png"] = files["a b/3.png"][:300]  # type: ignore[index]
    files = dict(sorted(files.items()))
    data_root = write_data(workspace, files)
    summary = prepare(data_root, workspace / "out", PARAMS)
    catalog = read_catalog(workspace / "out")
    store = open_store(workspace / "out", catalog)
    assert list(catalog.columns) == [*CATALOG_SCHEMA.names, *FACTS_SCHEMA.names]
    assert catalog["source"].tolist() == [source for source in files if "broken" not in source]
    for row, image in enumerate(catalog.itertuples()):
        data = read_bytes(data_root, image.data_shard, image.data_offset, image.size_bytes)
        assert data == files[image.source]
        assert hashlib.sha256(data).hexdigest() == image.sha256
        decoded = decode(data, PARAMS.store_short_side_px)
        np.testing.assert_array_equal(store[row], decoded.pixels)
        grey = np.asarray(Image.fromarray(decoded.pixels).convert("L"))
        assert (image.width, image.height) == (decoded.width, decoded.height)
        assert image.brightness == pytest.approx(grey.mean())
        assert image.sharpness == pytest.approx(sharpness(grey))
    assert summary["images"] == 11
    assert summary["pixels_bytes"] == sum(store[row].size for row in range(11))
    assert not (workspace / ".scratch").exists() or not list((workspace / ".scratch").iterdir())


def test_whatever_is_refused_has_a_reason(workspace: Path) -> None:
    files = {
        "0.png": photo(0),
        "cut.png": photo(1)[:-400],
        "gone.jpg": None,
        "huge.png": photo(2, 1200, 1000),
        "note.txt": b"hello",
        "scans.jpg": hostile.blank_jpeg(64, 150),
        "tiny.png": photo(3, 15, 40),
        "z.png": photo(4),
    }
    summary = prepare(write_data(workspace, files), workspace / "out", PARAMS)
    refused = pd.read_parquet(workspace / "out" / "quarantine.parquet").set_index("source")
    expected = {
        "cut.png": "truncated",
        "gone.jpg": "missing",
        "huge.png": "too_large",
        "note.txt": "not_an_image",
        "scans.jpg": "too_costly",
        "tiny.png": "too_small",
    }
    assert refused["reason"].to_dict() == expected
    assert (refused["detail"].str.len() > 5).all()
    assert summary["files"] == 8
    assert summary["quarantined"] == dict.fromkeys(sorted(expected.values()), 1)


def test_a_file_that_takes_more_time_or_memory_than_it_may_stops_nothing(workspace, monkeypatch) -> None:
    files = {
        "0.png": photo(0),
        "1 slow.jpg": hostile.blank_jpeg(4000, 90),
        "2 slow.png": hostile.png(3000, 8, 6, interlaced=1, extra_bytes=24_000),
        "3 large.webp": hostile.claimed_webp(9000),
        "4.tif": photo(1, suffix="TIFF"),
        "5.png": photo(2),
    }
    tiny = Budget(0.05, 2**30)
    monkeypatch.setattr(decoding, "decode", partial(decoding.decode, budget=tiny))
    params = replace(PARAMS, max_pixels=100_000_000)
    summary = prepare(write_data(workspace, files), workspace / "out", params)
    assert (summary["images"], summary["quarantined"]) == (3, {"too_costly": 3})
    refused = pd.read_parquet(workspace / "out" / "quarantine.parquet")
    assert refused["source"].tolist() == [name for name in files if " " in name]


def test_the_output_does_not_depend_on_the_number_of_processes(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files: dict[str, bytes | None] = {f"{n:02d}.png": photo(n // 2) for n in range(14)}
    files["15.png"] = b"broken"
    data_root = write_data(workspace, files, per_shard=3)
    prepare(data_root, workspace / "one", PARAMS)
    monkeypatch.setattr(local, "usable_cores", lambda: 3)
    prepare(data_root, workspace / "three", PARAMS)
    assert contents(workspace / "one") == contents(workspace / "three")
    assert len(contents(workspace / "one")) == 5 + 3


def test_a_killed_run_resumes_to_the_same_bytes(workspace: Path, capsys) -> None:
    files: dict[str, bytes | None] = {f"{n:03d}.jpg": photo(n, 900, 700, "JPEG") for n in range(120)}
    data_root = write_data(workspace, files, per_shard=10)
    script = workspace / "run.py"
    script.write_text(
        "import time\nfrom pathlib import Path\nfrom udml.config import Prepare\n"
        "from udml.compute import local\nfrom udml.data import decode_pool\n"
        "from udml.data.prepare import prepare\n"
        "decode_shard = decode_pool.decode_shard\n"
        "def half_of_them(task, count_one):  # or a busy machine might kill it too late\n"
        "    if len(list(task.rows.parent.glob('*.parquet'))) >= 6: time.sleep(3600)\n"
        "    decode_shard(task, count_one)\n"
        "decode_pool.decode_shard = half_of_them\n"
        "if __name__ == '__main__':\n    local.usable_cores = lambda: 2\n"
        f"    prepare(Path({str(data_root)!r}), Path('out'), {PARAMS!r})\n"
    )
    child = subprocess.Popen([sys.executable, str(script)], start_new_session=True, stderr=subprocess.DEVNULL)
    while not (finished := list(workspace.glob(".scratch/prepare-*/rows/*.parquet"))):
        assert child.poll() is None, "prepare ended before it could be killed"
        time.sleep(0.002)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    _wait_until_gone(child.pid)
    assert not (workspace / "out").exists()
    kept = {path: path.stat().st_mtime_ns for path in finished}
    assert (shards := len(list(workspace.glob(".scratch/prepare-*/rows/*.parquet")))) < 12

    seen = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decode_pool, "decode_shard", _recording(decode_pool.decode_shard, seen))
        prepare(data_root, workspace / "out", PARAMS)
    assert capsys.readouterr().out == f"going on at image {10 * shards} of 120\n"
    assert not {task.rows.resolve() for task in seen} & {path.resolve() for path in kept}
    prepare(data_root, workspace / "clean", PARAMS)
    assert contents(workspace / "out") == contents(workspace / "clean")


def _recording(function, seen: list):
    def recorded(task, count_one):
        seen.append(task)
        function(task, count_one)

    return recorded


def _wait_until_gone(group: int) -> None:
    """The killed parent's worker processes must end by themselves."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    os.killpg(group, signal.SIGKILL)
    pytest.fail("worker processes outlived their parent")


def test_other_params_start_afresh(workspace: Path) -> None:
    data_root = write_data(workspace, {f"{n}.png": photo(n) for n in range(5)})
    prepare(data_root, workspace / "out", PARAMS)
    smaller = Prepare(**{**PARAMS.__dict__, "store_short_side_px": 24})
    summary = prepare(data_root, workspace / "out", smaller)
    assert summary["store_short_side_px"] == 24
    assert min(open_store(workspace / "out")[0].shape[:2]) == 24


def test_duplicates_across_published_splits(workspace: Path) -> None:
    files = {"a.png": photo(0), "b.jpg": photo(0, suffix="JPEG"), "c.png": photo(1), "d.png": photo(2)}
    columns = {"split": ["train", "test", "train", "test"], "label": ["x", "y", "x", "y"]}
    summary = prepare(write_data(workspace, files, **columns), workspace / "out", PARAMS)
    catalog = read_catalog(workspace / "out")
    assert catalog["split"].tolist() == ["excluded", "test", "train", "test"]
    assert catalog["group"].tolist() == [image_id(name) for name in ("a.png", "a.png", "c.png", "d.png")]
    assert summary["splits"] == {"train": 1, "test": 2, "excluded": 1}
    assert (summary["duplicate_groups"], summary["images_in_duplicate_groups"]) == (1, 2)


def test_no_data(workspace: Path) -> None:
    with pytest.raises(UdmlError, match="udml data import"):
        prepare(workspace / "data", workspace / "out", PARAMS)


def test_nothing_usable(workspace: Path) -> None:
    data_root = write_data(workspace, {"a.txt": b"no", "b.txt": b"nor this", "c.jpg": None})
    with pytest.raises(UdmlError, match=r"none of the 3 .* 2 because the file is not an image") as caught:
        prepare(data_root, workspace / "out", PARAMS)
    assert "a.txt" in caught.value.what
    assert not (workspace / "out").exists()


def test_a_manifest_of_missing_files_only(workspace: Path) -> None:
    data_root = write_data(workspace, {"a.jpg": None, "b.jpg": None})
    with pytest.raises(UdmlError, match="is not there"):
        prepare(data_root, workspace / "out", PARAMS)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_damaged_shard_is_an_error_not_a_quarantine(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, processes: int
) -> None:
    data_root = write_data(workspace, {f"{n}.png": photo(n) for n in range(8)})
    shard = data_root / "shards" / "000001.tar"
    shard.write_bytes(shard.read_bytes()[:2000])
    monkeypatch.setattr(local, "usable_cores", lambda: processes)
    with pytest.raises(UdmlError, match=r"000001\.tar is shorter"):
        prepare(data_root, workspace / "out", PARAMS)


def test_a_store_file_that_was_cut_is_decoded_again(workspace: Path) -> None:
    data_root = write_data(workspace, {f"{n}.png": photo(n) for n in range(8)})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("udml.data.prepare.replace_directory", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            prepare(data_root, workspace / "out", PARAMS)
    [pixels] = workspace.glob(".scratch/prepare-*/result/store/pixels-00001.bin")
    pixels.write_bytes(pixels.read_bytes()[:-1])
    prepare(data_root, workspace / "out", PARAMS)
    prepare(data_root, workspace / "clean", PARAMS)
    assert contents(workspace / "out") == contents(workspace / "clean")


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_sharpness_against_a_slow_reference() -> None:
    grey = np.random.default_rng(0).integers(0, 256, (13, 17)).astype(np.uint8)
    g = grey.astype(int)
    laplacians = [
        g[y - 1, x] + g[y + 1, x] + g[y, x - 1] + g[y, x + 1] - 4 * g[y, x]
        for y in range(1, 12)
        for x in range(1, 16)
    ]
    assert sharpness(grey) == pytest.approx(np.var(laplacians), rel=1e-12)
    board = (np.indices((20, 20)).sum(axis=0) % 2 * 255).astype(np.uint8)
    assert sharpness(board) == (4 * 255) ** 2  # +-1020 everywhere, no 16-bit overflow
    assert sharpness(np.full((20, 20), 9, np.uint8)) == 0
    assert sharpness(board[:2]) == 0


def test_an_import_meanwhile_puts_no_other_pixels_under_a_hash(workspace: Path) -> None:
    data_root = write_data(workspace, {f"{n}.png": photo(n, 60, 60) for n in range(6)})
    held = read_manifest(data_root)
    write_data(workspace, {f"{n}.png": photo(n + 50, 60, 60) for n in range(6)})
    write_table(data_root / MANIFEST_FILE, held)  # what was read before the import
    with pytest.raises(UdmlError, match=r"holds another file|is shorter"):
        prepare(data_root, workspace / "out", PARAMS)
    assert not (workspace / "out").exists()
