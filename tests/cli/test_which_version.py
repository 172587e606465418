"""What is searched: the champion where there is one, else what the pipeline made last; said in one line."""

import json
from pathlib import Path

import pytest

from tests.cli.workspace import workspace
from udml import Searcher, UdmlError
from udml.cli import main
from udml.files import read_json, write_json
from udml.registry.chosen import choose
from udml.search.gallery import INFO_FILE

__all__ = ["workspace"]

COMMANDS = {
    "search": ["search", "one.png", "--json"],
    "report": ["report", "one.png"],
    "embed": ["embed", "one.png", "--out", "one.npy"],
    "monitor": ["monitor", "new"],
}
EXIT = {"monitor": 4}  # three images are too few for a verdict


def said(command: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The line of stderr that says what is used."""
    assert main(command) == EXIT.get(command[0], 0)
    lines = capsys.readouterr().err.splitlines()
    [line] = [line for line in lines if line.startswith(("searching ", "embedding ", "comparing "))]
    return line


def promote(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "register"]) == main(["models", "promote", "v1"]) == 0
    capsys.readouterr()


def test_every_command_uses_the_champion_else_the_workspace(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in COMMANDS.values():
        assert "the workspace, what the pipeline made last, as no version is the champion" in said(
            command, capsys
        )
    with Searcher.open() as searcher:
        assert searcher.version.name == "workspace"
    promote(capsys)
    for command in COMMANDS.values():
        assert " v1, the champion" in said(command, capsys)
        assert "--version workspace" not in said([*command, "--version", "champion"], capsys)
        assert said([*command, "--version", "workspace"], capsys).count("the workspace") == 1
    with Searcher.open() as searcher:
        assert searcher.version.name == "v1"


def test_what_was_added_is_found_at_once(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    promote(capsys)
    assert main(["index", "add", "new"]) == 0
    capsys.readouterr()
    assert main(["search", "one.png", "-k", "1", "--json"]) == 0
    found = capsys.readouterr()
    assert json.loads(found.out)["hits"][0]["source"] == "000.png"
    assert "searching v1, the champion: 123 images" in found.err
    assert main(["search", "one.png", "-k", "1", "--json", "--all", "--version", "workspace"]) == 0
    assert json.loads(capsys.readouterr().out)["hits"][0]["source"] != "000.png"


def test_a_newer_index_in_the_workspace_is_pointed_at(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    promote(capsys)
    assert "--version workspace" not in said(COMMANDS["search"], capsys)
    made = read_json(Path("artifacts/index") / INFO_FILE)
    write_json(Path("artifacts/index") / INFO_FILE, made | {"data_version": "b" * 16})
    assert "(`--version workspace`: what the pipeline made last)" in said(COMMANDS["search"], capsys)


@pytest.mark.parametrize("name", ["v7", "", "newest", "../v1"])
def test_a_name_that_is_none_is_refused(
    name: str, workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    promote(capsys)
    for command in COMMANDS.values():
        assert main([*command, "--version", name]) == 1
        assert f"there is no version {name}" in capsys.readouterr().err
    with pytest.raises(UdmlError, match="there is no version"):
        choose(name)


def test_before_anything_is_registered_the_next_commands_are_named(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    commands = (
        ["serve", "--port", "0"],
        ["index", "add", "new"],
        ["search", "one.png", "--version", "champion"],
    )
    for command in commands:
        assert main(command) == 1
        assert "`udml models register`" in (hint := capsys.readouterr().err)
        assert "`udml models promote v1`" in hint
    assert main(["models", "register"]) == main(["models", "register"]) == 0
    capsys.readouterr()
    for command in commands:
        assert main(command) == 1
        assert "`udml models promote v2` makes one" in (hint := capsys.readouterr().err)
        assert "models register" not in hint
