"""An install for searching only: what `pip install .` does not bring is not there."""

import json
import re
import shutil
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import numpy as np
import pytest
import yaml

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


@cache
def absent_modules() -> list[str]:
    """Top-level modules of everything that is installed here and would not be there."""
    there = brought_by("udml", set())
    return sorted(
        module
        for module, owners in packages_distributions().items()
        if not any(re.sub(r"[-_.]+", "-", owner).lower() in there for owner in owners)
    )


def bare(root: Path, *commands: str) -> list[tuple[int, str, str]]:
    """Run `udml` in `root` where those modules are not to be found: status, stdout and stderr of each."""
    code = (
        "import json, sys\n"
        f"sys.modules.update(dict.fromkeys({absent_modules()!r}))\n"
        "from contextlib import redirect_stderr, redirect_stdout\n"
        "from io import StringIO\n"
        "from udml.cli import main\n"
        "for command in sys.argv[1:]:\n"
        "    with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:\n"
        "        status = main(command.split())\n"
        "    print(json.dumps([status, out.getvalue(), err.getvalue()]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *commands], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


@pytest.fixture
def served(workspace: Path, tmp_path: Path) -> Path:
    """Nothing but models/, and pictures, as on a machine that only searches; settings as of another day."""
    settings = yaml.safe_load(Path("params.yaml").read_text())
    del settings["train"], settings["monitor"]["seed"]
    Path("params.yaml").write_text(yaml.safe_dump(settings))
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
    search, report, add, embed, monitor = bare(
        served,
        "search new/000.png --json --all",
        "report nothing.png",
        "index add new",
        "embed new --out vectors.npy",
        "monitor new",
    )
    assert [search[0], add[0], embed[0], monitor[0]] == [0, 0, 0, 3], monitor
    assert "no such file or folder: nothing.png" in report[2]
    assert json.loads(search[1])["version"] == "v1"
    wrote = "wrote 60 vectors of 12 numbers to vectors.npy (NumPy), and their paths to vectors.json\n"
    assert embed[1] == wrote
    vectors, beside = np.load(served / "vectors.npy"), json.loads((served / "vectors.json").read_text())
    assert (vectors.shape, vectors.dtype) == ((60, 12), np.float32)
    assert beside["paths"] == [f"new/{number:03d}.png" for number in range(60)]
    assert beside["model"]["udml.model_version"] == "0123456789abcdef"
    assert "drift: p = 0.0005" in monitor[1]
    assert json.loads((served / "drift.json").read_text())["verdict"] == "drift"


def test_what_needs_more_is_refused_before_the_work_and_says_what(served: Path) -> None:
    outs = ("vectors.parquet", "vectors.pq", "vectors")
    *parquet, since = bare(served, *(f"embed new --out {out}" for out in outs), "monitor")
    for status, _, said in parquet:
        assert status == 1
        assert "Parquet, which needs pyarrow\n  -> name a file that ends in .npy" in said
        assert "embed:" not in said  # no bar
    assert since[0] == 1  # what was imported since is known to the pipeline alone
    assert "this needs the package pandas" in since[2]


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
