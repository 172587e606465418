"""A retraining's own copy of the workspace, so that a person's checkout is never disturbed.

    .scratch/retrain/<holder of the lease>/   code, settings and pointers to data, as they are on disk now

Data and results are not copied: both workspaces share one DVC cache. A retraining that ends well leaves
nothing. One that fails leaves what an unfinished stage needs to go on, if anything; the next one takes
that over, and removes what a killed one left.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from udml import paths
from udml.errors import UdmlError
from udml.files import SCRATCH
from udml.judgement.answers import FILE as JUDGEMENTS
from udml.processes import run_command
from udml.workspace.code import link_code

COPIES = SCRATCH / "retrain"
_DVC_DIRECTORY = ".dvc"
_DVC_FILES = ("dvc.yaml", "params.yaml")


@contextmanager
def own_copy(source: Path, name: str) -> Iterator[Path]:
    """Copy a workspace, and remove the copy at the end; the caller holds the lease.

    What counts is what lies on disk, committed or not: every file that git tracks, new ones beside
    them, and DVC's own (dvc.yaml, params.yaml, data.dvc).

    Args:
        source: the workspace.
        name: of the copy, never used before.

    Raises:
        UdmlError: if `source` is not the top of a git and DVC workspace.
    """
    source = source.resolve()
    if not (source / _DVC_DIRECTORY).is_dir() or not (source / "dvc.yaml").exists():
        raise UdmlError(f"{source} holds no DVC pipeline", "run udml from the top of the project")
    copy = source / COPIES / name
    copy.mkdir(parents=True)
    try:
        for path in _files(source):
            (copy / path.parent).mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / path, copy / path, follow_symlinks=False)
        link_code(copy)
        _share_cache(source, copy)
        (copy / paths.MODELS).symlink_to(source / paths.MODELS)
        yield copy
    except BaseException:
        _remove_all_but_scratch(copy)
        raise
    else:
        shutil.rmtree(copy)


def take_over_leftovers(copy: Path) -> None:
    """Go on in `copy` with what a killed retraining's stage left unfinished, and remove the rest of it."""
    leftovers = [path for path in copy.parent.iterdir() if path != copy]
    for leftover in sorted(leftovers, key=lambda path: path.stat().st_mtime, reverse=True):
        if (leftover / SCRATCH).is_dir() and not (copy / SCRATCH).exists():
            os.replace(leftover / SCRATCH, copy / SCRATCH)
        shutil.rmtree(leftover, ignore_errors=True)


def has_remote(copy: Path) -> bool:
    """Whether the workspace names a DVC remote to pull from by default."""
    from dvc.config import Config

    return bool(Config(copy / _DVC_DIRECTORY)["core"].get("remote"))


def run_in(
    copy: Path, command: Sequence[str], say: Callable[[str], None], accept: Collection[int] = (0,)
) -> None:
    """Run a command in the copy, with the copy's code; see `udml.processes.run_command`."""
    code = os.pathsep.join(filter(None, (str(copy / "src"), os.environ.get("PYTHONPATH"))))
    run_command([sys.executable, "-m", *command], say, copy, {"PYTHONPATH": code}, accept)


def _remove_all_but_scratch(copy: Path) -> None:
    scratch = copy / SCRATCH
    if not scratch.is_dir() or not any(scratch.iterdir()):
        shutil.rmtree(copy, ignore_errors=True)
        return
    for path in copy.iterdir():
        if path.is_dir() and not path.is_symlink():
            if path != scratch:
                shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _files(source: Path) -> list[Path]:
    """Files of a workspace that a retraining needs, relative to it.

    New files count where git tracks others beside or above them, so that a folder of photographs that
    happens to lie in the workspace is not copied.
    """
    tracked, new = _git_files(source), _git_files(source, "--others", "--exclude-standard")
    folders = {path.parts[0] for path in tracked if len(path.parts) > 1}
    wanted = tracked + [
        path for path in new if path.parts[0] in folders or _is_dvc_file(path) or path == JUDGEMENTS
    ]
    there = (path for path in wanted if (source / path).is_symlink() or (source / path).is_file())
    # DVC's settings are written anew; its lock file comes from the version that is compared with
    return [path for path in there if path.parts[0] != _DVC_DIRECTORY and path.name != "dvc.lock"]


def _is_dvc_file(path: Path) -> bool:
    return len(path.parts) == 1 and (path.name in _DVC_FILES or path.suffix == ".dvc")


def _git_files(source: Path, *which: str) -> list[Path]:
    done = subprocess.run(["git", "ls-files", "-z", *which], cwd=source, capture_output=True, check=False)
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()
        raise UdmlError(
            f"git does not know the files of {source}: {said}", "retraining needs a git repository"
        )
    return [Path(os.fsdecode(name)) for name in done.stdout.split(b"\0") if name]


def _share_cache(source: Path, copy: Path) -> None:
    """The source's DVC settings, with its cache, and nothing that leaves traces outside the copy."""
    from dvc.config import Config, merge

    (copy / _DVC_DIRECTORY).mkdir()
    theirs = Config(source / _DVC_DIRECTORY)
    with Config(copy / _DVC_DIRECTORY).edit("repo") as ours:
        for level in ("repo", "local"):  # relative paths are made to lead to the same places
            merge(ours, theirs.load_one(level))
        ours["cache"].setdefault("dir", str(source / _DVC_DIRECTORY / "cache"))
        ours["core"] |= {
            "no_scm": True,
            "site_cache_dir": str(copy / _DVC_DIRECTORY / "tmp" / "site"),
        }
