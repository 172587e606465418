"""Wheel and sdist: complete, and a whole product without a checkout."""

import json
import os
import re
import signal
import subprocess
import sys
import sysconfig
import tarfile
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT
from tests.pipeline import SMALL, environment, run, write_pictures

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what `make dist` builds, from the files that git tracks."""
    clone = tmp_path_factory.mktemp("dist") / "clone"
    for name in run(
        ROOT, "git", "ls-files", "--cached", "--others", "--exclude-standard"
    ).stdout.splitlines():
        if name.startswith("src/") or "/" not in name:
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            (clone / name).write_bytes((ROOT / name).read_bytes())
    run(clone, "make", "dist", "--old-file", "setup")  # what it builds with is here already
    return clone / "dist"


def test_both_hold_every_file_of_the_package(built: Path) -> None:
    listed = run(ROOT, "git", "ls-files", "--cached", "--others", "--exclude-standard", "src/udml").stdout
    wanted = {name.removeprefix("src/") for name in listed.splitlines()}
    [wheel], [sdist] = built.glob("*.whl"), built.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        assert {name for name in archive.namelist() if name.startswith("udml/")} == wanted
    with tarfile.open(sdist) as archive:
        names = {member.name.partition("/")[2] for member in archive if member.isfile()}
    assert {f"src/{name}" for name in wanted} | {"pyproject.toml", "README.md", "LICENSE"} <= names


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The variables of an environment outside any checkout: the wheel, and beside it what it requires."""
    venv = tmp_path_factory.mktemp("elsewhere") / "venv"
    run(ROOT, "uv", "venv", "--quiet", "--python", sys.executable, str(venv))
    [wheel] = built.glob("*.whl")
    python = venv / "bin" / "python"
    run(
        ROOT, "uv", "pip", "install", "--quiet", "--offline", "--no-deps", "--python", str(python), str(wheel)
    )
    [packages] = venv.glob("lib/*/site-packages")
    (packages / "requirements.pth").write_text(sysconfig.get_path("purelib") + "\n")
    kept = {key: value for key, value in environment().items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return kept | {"PATH": f"{venv / 'bin'}{os.pathsep}/usr/bin{os.pathsep}/bin", "OMP_NUM_THREADS": "1"}


@contextmanager
def quickstart(folder: Path, variables: dict[str, str]) -> Iterator[tuple[str, str]]:
    """`udml quickstart` until it serves; yields the page's address and all that was said, then Ctrl-C."""
    process = subprocess.Popen(
        ["udml", "quickstart", str(folder), "--no-browser", "--port", "0"],
        executable=variables["PATH"].partition(os.pathsep)[0] + "/udml",
        cwd=folder.parent, env=variables, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    said, address = "", None
    assert process.stdout is not None
    try:
        for line in process.stdout:
            said += line
            if address := re.match(r"open (http\S+) in your browser", line):
                break
        assert address is not None, said
        yield address[1], said
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate()
    assert process.returncode == 0


def search(address: str, picture: Path) -> list[dict[str, object]]:
    """The neighbours of a picture, asked of the HTTP API."""
    sent = urllib.request.Request(
        f"{address}v1/search?k=5", data=picture.read_bytes(), headers={"Content-Type": "image/jpeg"}
    )
    with urllib.request.urlopen(sent) as answer:
        return json.load(answer)["neighbours"]


def test_from_photos_to_a_search_from_the_wheel_alone(installed: dict[str, str], tmp_path: Path) -> None:
    photos, workspace = write_pictures(tmp_path / "photos", labelled=False), tmp_path / "udml-photos"

    def elsewhere(*command: str) -> str:
        program = Path(installed["PATH"].partition(os.pathsep)[0]) / command[0]
        done = subprocess.run(
            [program, *command[1:]], cwd=workspace, env=installed, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    workspace.mkdir()
    elsewhere("udml", "init", ".")
    settings = yaml.safe_load((workspace / "params.yaml").read_text())
    for section, changes in SMALL.items():
        settings[section] |= changes
    (workspace / "params.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
    code = elsewhere("python", "-c", "import udml; print(udml.__file__)").strip()
    assert not code.startswith(str(ROOT))
    assert (workspace / "src" / "udml" / "__init__.py").resolve() == Path(code).resolve()
    with quickstart(photos, installed) as (address, said):
        assert "v1 is the champion" in said
        assert search(address, photos / "03-07.jpg")[0]["source"] == "03-07.jpg"
    with quickstart(photos, installed) as (_, said):  # again: nothing is done twice
        assert "are imported already" in said
        assert "Data and pipelines are up to date" in said
    assert "nothing new: data, settings and code are those of v1" in elsewhere("udml", "retrain")
    assert "03-07.jpg" in elsewhere("udml", "search", str(photos / "03-07.jpg"))
