"""Commands and code of the README and the tutorial, run as they stand there."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from PIL import Image

from tests.conftest import ROOT
from tests.pipeline import SMALL, run, write_pictures

README = (ROOT / "README.md").read_text()
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])


def blocks(language: str, page: str = "README.md") -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)


def block_with(language: str, text: str, page: str = "README.md") -> str:
    return next(block for block in blocks(language, page) if text in block)


def test_every_make_target_and_module_named_exists() -> None:
    targets = set(re.findall(r"(?:^|`)make ([a-z-]+)", README, re.MULTILINE))
    assert {"run", "setup", "test", "lint", "docs", "dist"} <= targets
    for target in targets:
        run(ROOT, "make", "--dry-run", target)
    modules = set(re.findall(r"python -m ([a-z_.]+)", README))
    assert modules
    assert all(find_spec(module) for module in modules)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_import_in_the_docs_works(page: Path) -> None:
    code = "".join(re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL))
    for line in re.findall(r"^\s*((?:from udml|import udml)[^\n]*)", code, re.MULTILINE):
        exec(line, {})  # as the reader would


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_the_docs_name_exists(page: Path) -> None:
    named = re.findall(
        r"`((?:src/udml|tests|benchmarks|docs|flows)/[\w/.]+)`|\]\(([\w/.]+\.md)\)", page.read_text()
    )
    for path, link in named:
        assert (ROOT / path if path else page.parent / link).exists(), path or link


def test_every_setting_named_is_in_params_yaml() -> None:
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    named = re.findall(r"\b(prepare|validate|train|export|index|evaluate)\.([a-z_]+)\b(?!\()", README)
    settings = [(section, key) for section, key in named if key not in ("onnx", "html", "json")]
    assert settings
    for section, key in settings:
        assert key in params[section], f"{section}.{key}"


def make_small(params: Path) -> None:
    """Settings with which the pipeline takes seconds."""
    settings = yaml.safe_load(params.read_text())
    for section, changes in SMALL.items():
        settings[section] |= changes
    params.write_text(yaml.safe_dump(settings, sort_keys=False))


@pytest.mark.slow
def test_commands_and_code_of_the_readme_run(tmp_path: Path) -> None:
    """The tutorial in its order, then what the README has, with a home directory that has photos in it."""
    home, workspace = tmp_path / "home", tmp_path / "my-search"
    write_pictures(home / "photos", labelled=False)
    query = (home / "photos" / "03-07.jpg").read_bytes()
    (home / "photos" / "query.jpg").write_bytes(query)
    for number in range(2):
        (home / "new-photos").mkdir(exist_ok=True)
        Image.effect_noise((80, 60), 90 + number).save(home / "new-photos" / f"noise-{number}.png")

    def execute(*command: str) -> str:
        where = workspace if workspace.exists() else tmp_path
        return run(where, "env", f"HOME={home}", *command).stdout

    for block in blocks("sh", "docs/tutorial.md"):
        execute("bash", "-euo", "pipefail", "-c", block)
        if "udml init" in block:
            make_small(workspace / "params.yaml")
    assert (workspace / "neighbours.jpg").exists()
    assert (workspace / "models" / "champion").resolve().name == "v1"
    write_pictures(workspace / "folder", kinds=2, each=2)
    (workspace / "query.jpg").write_bytes(query)
    own_pictures = block_with("sh", "udml data import")
    assert "03-07.jpg" in execute("bash", "-euo", "pipefail", "-c", own_pictures)
    assert (workspace / "found.html").exists()
    for command in ("register", "promote v2"):  # an earlier champion to go back to
        execute("udml", "models", *command.split())
    execute("bash", "-euo", "pipefail", "-c", block_with("sh", "udml models promote"))
    assert (workspace / "models" / "champion").resolve().name == "v2"
    for number in range(2):  # the tutorial has added the others
        Image.effect_noise((80, 60), 120 + number).save(home / "new-photos" / f"later-{number}.png")
    adding = next(line for line in block_with("sh", "udml index add").splitlines() if "index add" in line)
    assert "2 added" in execute("bash", "-euo", "pipefail", "-c", adding)
    code = block_with("python", "Searcher")
    assert execute("python", "-c", code + "print(len(hits))").strip() == "8"
    experiment = block_with("sh", "dvc exp run").replace("s3://bucket/udml", str(tmp_path / "remote"))
    execute("bash", "-euo", "pipefail", "-c", experiment)
    assert any((tmp_path / "remote").iterdir())
    code = block_with("python", "onnxruntime", "docs/model.md")
    assert execute("python", "-c", code + "\nprint(vector.shape)").strip() == "(1, 16)"
