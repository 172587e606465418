"""An install for searching only: what `pip install .` does not bring is not there."""

import json
import re
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import numpy as np
import pytest

from tests.cli.workspace import workspace
from tests.fixtures.models import pictures, warmer
from tests.monitor.workspace import save
from udml.cli import main
from udml.search.gallery import OLD_REFERENCE_FILE, REFERENCE_FILE

__all__ = ["workspace"]


def brought_by(name: str, seen: set[str]) -> set[str]:
    """Names of the distributions that an install of `name`, without extras, brings."""
    key = re.sub(r"[-_.]+", "-", name).lower()
    if key in seen:
        return seen
    seen.add(key)
    try:
        wanted = [one for one in requires(name) or [] if "extra ==" not in one]
    except PackageNotFoundError:  # for another system
        return seen
    for one in wanted:
        brought_by(re.split(r"[^\w.-]", one)[0], seen)
    return seen


def absent_modules() -> list[str]:
    """Top-level modules of everything that is installed here and would not be there."""
    there = brought_by("udml", set())
    return sorted(
        module
        for module, owners in packages_distributions().items()
        if not any(re.sub(r"[-_.]+", "-", owner).lower() in there for owner in owners)
    )


def bare(root: Path, *command: str) -> "subprocess.CompletedProcess[str]":
    """Run `udml` in `root` where those modules are not to be found."""
    code = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({absent_modules()!r}))\n"
        "from udml.cli import main\n"
        f"sys.exit(main({list(command)!r}))"
    )
    return subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)


@pytest.fixture
def served(workspace: Path, tmp_path: Path) -> Path:
    """Nothing but models/, and pictures, as on a machine that only searches."""
    assert main(["models", "register"]) == main(["models", "promote", "v1"]) == 0
    place = tmp_path / "served"
    shutil.copytree(workspace / "models", place / "models", symlinks=True)
    save(place / "new", warmer(pictures(60, seed=5)))
    return place


def test_what_is_absent_is_what_no_search_needs() -> None:
    absent = absent_modules()
    assert {"torch", "pandas", "pyarrow", "scipy", "sklearn", "xxhash", "dvc", "prefect"} <= set(absent)
    assert not {"numpy", "PIL", "faiss", "onnxruntime", "yaml", "tqdm", "udml"} & set(absent)


def test_searching_embedding_and_watching_for_drift(served: Path) -> None:
    for command in (["search", "new/000.png", "--json"], ["index", "add", "new"]):
        done = bare(served, *command)
        assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    done = bare(served, "embed", "new", "--out", "vectors.npy")
    assert (
        "wrote 60 vectors of 12 numbers to vectors.npy (NumPy), and their paths to vectors.json"
        in done.stdout
    )
    vectors, beside = np.load(served / "vectors.npy"), json.loads((served / "vectors.json").read_text())
    assert (vectors.shape, vectors.dtype) == ((60, 12), np.float32)
    assert beside["paths"] == [f"new/{number:03d}.png" for number in range(60)]
    assert beside["model"]["udml.model_version"] == "0123456789abcdef"
    done = bare(served, "monitor", "new")
    assert done.returncode == 3, done.stderr
    assert "drift: p = 0.0005" in done.stdout
    assert json.loads((served / "drift.json").read_text())["verdict"] == "drift"


@pytest.mark.parametrize("out", ["vectors.parquet", "vectors.pq", "vectors"])
def test_parquet_is_refused_before_the_work_and_the_way_out_is_named(served: Path, out: str) -> None:
    done = bare(served, "embed", "new", "--out", out)
    assert done.returncode == 1
    assert ".npy" in done.stderr
    assert "embed:" not in done.stderr
    assert "Traceback" not in done.stderr


def test_what_needs_more_says_what(served: Path) -> None:
    done = bare(served, "monitor")  # what was imported since is known to the pipeline alone
    assert done.returncode == 1
    assert "this needs the package pandas" in done.stderr


@pytest.mark.parametrize("out", ["vectors.parquet", "vectors", "vectors.npy"])
def test_where_pyarrow_is_the_name_decides(
    workspace: Path, out: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["embed", "new", "--out", out]) == 0
    said = capsys.readouterr().out
    assert ("(NumPy)" if out.endswith(".npy") else "(Parquet)") in said
    if out.endswith(".npy"):
        assert len(np.load(out)) == 3
    else:
        assert Path(out).read_bytes()[:4] == b"PAR1"


def test_the_sample_of_an_older_version_is_read_where_pyarrow_is(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    index = workspace / "artifacts" / "index"
    assert main(["monitor", "new", "--out", "new.html"]) == 4
    table = np.load(index / REFERENCE_FILE)
    (index / REFERENCE_FILE).unlink()
    pq.write_table(pa.table({name: table[name] for name in table.dtype.names}), index / OLD_REFERENCE_FILE)
    assert main(["monitor", "new", "--out", "old.html"]) == 4
    assert Path("new.json").read_text() == Path("old.json").read_text()
