"""The code of the stages as DVC sees it: `src/udml`, the code itself in a checkout, elsewhere a link to it.

`dvc.yaml` names the code that each stage runs below `src/udml`. With the link, DVC runs a stage anew when a
udml is installed that does it otherwise, and the paths in `dvc.lock` are the same on every machine.
"""

from pathlib import Path

import udml
from udml.files import atomic_path

CODE = Path("src", "udml")
_ALL = "*\n"  # git sees neither the link, which is this machine's own, nor this file


def link_code(workspace: Path) -> bool:
    """Let `src/udml` lead to the udml that runs, where `dvc.yaml` names it; True if that was not so.

    A `src/udml` that is no link is left alone: it is a checkout's own.
    """
    place, code = workspace / CODE, Path(udml.__file__).resolve().parent
    if not _is_named(workspace) or (place.exists() and not place.is_symlink()) or place.resolve() == code:
        return False
    place.parent.mkdir(exist_ok=True)
    if place.is_symlink():
        place.unlink()
    place.symlink_to(code)
    ignored = place.parent / ".gitignore"
    if not ignored.exists():
        with atomic_path(ignored) as temporary:
            temporary.write_text(_ALL)
    return True


def _is_named(workspace: Path) -> bool:
    stages = workspace / "dvc.yaml"
    return stages.is_file() and f"- {CODE.as_posix()}/" in stages.read_text(errors="replace")
