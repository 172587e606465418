"""`udml init`: a workspace that runs everything a checkout of udml runs."""

import os
import subprocess
import sys
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

from udml.errors import UdmlError, install_hint
from udml.files import atomic_path
from udml.text import printable
from udml.workspace.code import CODE, link_code

STAGES = "dvc.yaml"  # written last: whoever has it has the rest
# Names that lie in the package without the dot that hides a file.
_HIDDEN = {
    "gitignore": ".gitignore", "dvcignore": ".dvcignore", "gitattributes": ".gitattributes",
    "dvcconfig": ".dvc/config",
}  # fmt: skip
_MADE = (".git", ".dvc", ".scratch")  # by git, by DVC, by a command that goes on


def template() -> dict[str, bytes]:
    """What a workspace begins with, by its name in there; `dvc.yaml` comes last."""
    root = Path(str(files("udml"))) / "workspace" / "template"
    there = [path for path in sorted(root.rglob("*")) if path.is_file() and "__pycache__" not in path.parts]
    found = {_name(path.relative_to(root)): path.read_bytes() for path in there}
    found["params.yaml"] = (files("udml") / "presets" / "laptop.yaml").read_bytes()
    found[STAGES] = found.pop(STAGES)
    return found


def _name(path: Path) -> str:
    return _HIDDEN.get(path.as_posix(), path.as_posix())


def start_workspace(directory: Path) -> str:
    """Make `directory` a workspace, with git and DVC; returns one sentence that says what was done.

    What was begun and killed is gone on with. In a workspace that is there already, only the link to the
    code is set right; no file is ever overwritten.

    Raises:
        UdmlError: if `directory` holds anything else, or git or DVC is missing or fails.
    """
    shown, begins = printable(directory), template()
    if _is_workspace(directory):
        linked = "; its link to the code of udml was set right" if link_code(directory) else ""
        return f"{shown} is a workspace of udml already: nothing was overwritten{linked}"
    _require_room(directory, begins)
    if find_spec("dvc") is None:
        raise UdmlError("a workspace needs the package dvc", install_hint("pipeline"))
    directory.mkdir(parents=True, exist_ok=True)
    if not (directory / ".git").exists():
        _run(directory, "git", "init", "--quiet")
    if not (directory / ".dvc").is_dir():
        _run(directory, sys.executable, "-m", "dvc", "init", "--quiet")
    for name, content in begins.items():
        with atomic_path(directory / name) as temporary:
            temporary.write_bytes(content)
    link_code(directory)
    return f"made a workspace of udml in {shown}"


def _is_workspace(directory: Path) -> bool:
    stages = directory / STAGES
    return stages.is_file() and "cmd: udml prepare" in stages.read_text(errors="replace")


def _require_room(directory: Path, begins: dict[str, bytes]) -> None:
    """Refuse what is no folder, or one in which anything lies that is not to be written there."""
    if os.path.lexists(directory) and not directory.is_dir():
        raise UdmlError(f"{printable(directory)} is no folder", "name one that is empty, or not there yet")
    if not directory.exists():
        return
    strange = _strange(directory, begins)
    if strange:
        raise UdmlError(
            f"{printable(directory)} is not empty: there is {printable(strange)}; nothing was written",
            "name a folder that is empty, or not there yet",
        )


def _strange(directory: Path, begins: dict[str, bytes]) -> Path | None:
    """The first thing in a folder that neither this, nor git, nor DVC wrote there, relative to it."""
    ours = {Path(name).parts[0] for name in begins} | {CODE.parts[0]}
    for entry in sorted(directory.iterdir()):
        if entry.name in _MADE:
            continue
        if entry.name not in ours:
            return entry.relative_to(directory)
        for path in [entry] if entry.is_file() else sorted(entry.rglob("*")):
            name = path.relative_to(directory)
            if path.is_file() and not _is_ours(path, begins.get(name.as_posix())):
                return name
    return None


def _is_ours(path: Path, content: bytes | None) -> bool:
    """Whether a file is what is to be written there, what DVC begins with, or beside the link to the code."""
    if path.name == ".dvcignore" or path.parent.name == CODE.parts[0]:
        return True
    return content is not None and path.read_bytes() == content


def _run(directory: Path, *command: str) -> None:
    environment = {**os.environ, "DVC_NO_ANALYTICS": "1"}
    try:
        done = subprocess.run(
            command, cwd=directory, env=environment, capture_output=True, text=True, check=False
        )
    except FileNotFoundError as error:
        raise UdmlError(f"a workspace needs {command[0]}, which is not there", "install it") from error
    if done.returncode != 0:
        raise UdmlError(
            f"`{' '.join(command)}` failed: {printable(done.stderr.strip())}", "mend that, then again"
        )
