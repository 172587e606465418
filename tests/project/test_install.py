"""What people are told to install can be installed, and without a GPU's packages where there is no GPU."""

import re
import sys
import tomllib
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.conftest import ROOT
from tests.pipeline import make_workspace, run, write_pictures
from udml.errors import install_hint

# `udml` right behind `install` and its options, as a name to look up: not `./udml`, not a wheel file.
BY_NAME = re.compile(r"""\binstall\s+(?:-\S+\s+(?:\S+\s+)??)*['"]?udml(?![\w./-])|(?<![\w./-])udml\[""")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LINKED_TO_NOTHING = {"triton", "cuda-toolkit", "nvidia-cusolver", "nvidia-nvjitlink"}


def texts() -> dict[Path, str]:
    """Everything that tells people what to do: the code, README, docs, and what else stands beside them."""
    places = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "params.yaml", ROOT / "prefect.yaml"]
    for folder in ("src/udml", "flows", "benchmarks"):
        places += [path for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".html", ".js")]
    return {path: path.read_text() for path in places}


def test_nobody_is_told_to_get_udml_from_an_index() -> None:
    wrong = {
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path, text in texts().items()
        for line in text.splitlines()
        if BY_NAME.search(line)
    }
    assert wrong == set()


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("pip install 'udml[serve]'", True),
        ("install udml[pipeline], or copy `models/`", True),
        ("`pip install udml` brings", True),
        ("uv pip install --quiet udml", True),
        ("install udml with its `pipeline` extra", True),
        ("pip install '.[serve]'         # in a checkout of udml", False),
        ("pip install ./udml-0.1.0-py3-none-any.whl", False),
        ("pip install -e ../udml", False),
        ("`pip install .` in a checkout of udml brings", False),
    ],
)
def test_the_search_for_it_finds_it(line: str, wrong: bool) -> None:
    assert bool(BY_NAME.search(line)) == wrong


def test_every_extra_that_is_named_exists() -> None:
    extras = set(PROJECT["optional-dependencies"])
    named: set[str] = set()
    for text in texts().values():
        named |= set(re.findall(r"""install_hint\(["'](\w+)["']\)""", text))
        for several in re.findall(r"'\.\[([\w,]+)\]'", text):
            named |= set(several.split(","))
    assert {"serve", "pipeline", "s3"} <= named <= extras
    assert "'.[serve]'" in install_hint("serve")


def names_in(lock: str) -> set[str]:
    return set(re.findall(r"^([a-z0-9][a-z0-9-]*)==", lock, re.MULTILINE))


def left_out(variable: str) -> set[str]:
    """The packages of the lock file that the Makefile leaves out by one of its patterns."""
    makefile, lock = (ROOT / "Makefile").read_text(), (ROOT / "requirements.lock").read_text()
    [pattern] = re.findall(rf"^{variable} := (.*)$", makefile, re.MULTILINE)
    return {name for name in names_in(lock) if re.fullmatch(pattern, name)}


def test_a_gpus_packages_and_no_others_are_left_out() -> None:
    gpu_only, not_linked = left_out("GPU_ONLY"), left_out("NOT_LINKED")
    assert LINKED_TO_NOTHING <= not_linked < gpu_only
    assert "nvidia-ml-py" not in gpu_only  # dvclive imports it
    wanted = {re.split(r"[^a-z0-9-]", name.lower())[0] for name in PROJECT["dependencies"]}
    for extra in PROJECT["optional-dependencies"].values():
        wanted |= {re.split(r"[^a-z0-9-]", name.lower())[0] for name in extra}
    assert not gpu_only & wanted


def required(name: str, extra: str = "") -> set[str]:
    """The packages that one, with an extra, requires here, and those that they require."""
    found: set[str] = set()
    wanted = [(name, extra)]
    while wanted:
        package, with_extra = wanted.pop()
        for line in distribution(package).requires or ():
            one = Requirement(line)
            if one.name not in found and (one.marker is None or one.marker.evaluate({"extra": with_extra})):
                found.add(one.name)
                wanted += [(one.name, extra) for extra in one.extras or {""}]
    return found


def test_serving_needs_neither_ray_nor_milvus_nor_400_mb() -> None:
    names = required("udml", "serve")
    assert {"faiss-cpu", "onnxruntime", "fastapi", "uvicorn", "starlette"} <= names
    assert names.isdisjoint(
        {"ray", "pymilvus", "milvus-lite", "grpcio", "torch", "pandas", "pyarrow", "scipy"}
    )
    files = [Path(str(file.locate())) for name in names for file in distribution(name).files or ()]
    size_bytes = sum(file.stat().st_size for file in files if file.exists() and file.suffix != ".pyc")
    assert 100e6 < size_bytes < 400e6


@pytest.mark.slow
def test_the_pipeline_runs_without_a_gpus_packages(tmp_path: Path) -> None:
    """`make setup TORCH=cpu` into an environment of its own, and training and export in it."""
    venv, python = tmp_path / "venv", f"PYTHON={sys.executable}"
    run(ROOT, "make", "setup", "TORCH=cpu", f"VENV={venv}", python)
    installed = {
        path.name.split("-")[0].replace("_", "-").lower()
        for path in venv.glob("lib/*/site-packages/*.dist-info")
    }
    assert {"torch", "torchvision", "udml", "pytest"} <= installed
    assert installed.isdisjoint(LINKED_TO_NOTHING)
    assert "packages-cpu" in run(ROOT, "make", "-n", "-B", "setup", f"VENV={venv}", python).stdout

    # in one process: a fresh environment compiles what it imports, once
    code = (
        "import sys\nfrom udml.cli import main\n"
        "for line in ('data import ' + sys.argv[1], 'prepare', 'validate', 'train', 'export'):\n"
        "    assert main(line.split()) == 0, line\n"
    )
    pictures = write_pictures(tmp_path / "pictures")
    workspace = make_workspace(tmp_path / "workspace")
    run(workspace, str(venv / "bin" / "python"), "-c", code, str(pictures))
    assert (workspace / "artifacts" / "export" / "model.onnx").exists()
