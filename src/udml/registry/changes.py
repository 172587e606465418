"""Whether there is anything new to train on: data, settings and code against those of a version.

DVC decides, by the version's own lock file; nothing is run, and data need not be there.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from udml import paths
from udml.config.yaml_file import read_mapping
from udml.errors import UdmlError
from udml.registry import store
from udml.registry.bundle import LOCK_FILE, PARAMS_FILE
from udml.registry.lease import hold
from udml.registry.workspace import own_copy, take_over_leftovers

_VERDICTS = ("promote", "refuse", "undone")
_UP_TO_DATE = "Data and pipelines are up to date."


def check_for_news(workspace: Path) -> str:
    """The answer of `nothing_new` for a workspace in use, by a copy of it.

    Raises:
        LeaseTaken: if a retraining is running.
    """
    models = workspace / paths.MODELS
    with hold(models) as lease, own_copy(workspace, lease.holder) as copy:
        said = nothing_new(copy, models)
        if said:
            take_over_leftovers(copy)  # nobody will go on with them
    return said


def nothing_new(workspace: Path, models: Path) -> str:
    """Why a retraining would tell nothing new, as a sentence, or "" if it may.

    The workspace is compared with the champion, and with the newest version if that was judged already:
    what was refused, or rolled back by a person, is not tried again until something changes.

    Args:
        workspace: a copy without results; its dvc.lock is overwritten.
        models: the registry.
    """
    for name, words in _judged_versions(workspace, models):
        shutil.copyfile(_bundled(models, name, LOCK_FILE), workspace / LOCK_FILE)
        if _is_up_to_date(workspace):
            return f"nothing new: data, settings and code are those of {name}, {words}"
    return ""


def only_images_differ(workspace: Path, models: Path) -> bool:
    """Whether nothing but the imported images differs from what the champion was made of.

    Args:
        workspace: a copy with data and without results; its dvc.lock is overwritten.
        models: the registry.
    """
    champion = store.champion_name(models)
    if champion is None:
        return False
    shutil.copyfile(_bundled(models, champion, LOCK_FILE), workspace / LOCK_FILE)
    command = [sys.executable, "-m", "dvc", "status", "--json"]
    done = subprocess.run(command, cwd=workspace, capture_output=True, text=True, check=True)
    differing = {
        path
        for stage in json.loads(done.stdout).values()
        for change in stage
        # what is no mapping is "changed command"; that outputs are not there says nothing
        for path in (change.get("changed deps", ()) if isinstance(change, dict) else (change,))
    }
    return {path for path in differing if not Path(path).is_relative_to(paths.ARTIFACTS)} == {str(paths.DATA)}


def _judged_versions(workspace: Path, models: Path) -> list[tuple[str, str]]:
    """Versions to compare with, and what to say of each."""
    champion = store.champion_name(models)
    found = [(champion, "the champion")] if champion else []
    newest = next(iter(reversed(store.version_names(models))), None)
    if newest is None or newest == champion:
        return found
    verdicts = [e for e in store.events(models) if e["version"] == newest and e["event"] in _VERDICTS]
    if not verdicts or verdicts[-1]["event"] == "undone":
        return found
    if verdicts[-1]["event"] == "promote":
        return [*found, (newest, f"which was champion before; `udml models promote {newest}` brings it back")]
    if _thresholds(workspace / PARAMS_FILE) != _thresholds(_bundled(models, newest, PARAMS_FILE)):
        return found
    return [*found, (newest, f"which was {verdicts[-1]['reason']}")]


def _bundled(models: Path, name: str, file: str) -> Path:
    path = store.version_directory(models, name) / file
    if not path.exists():
        raise UdmlError(f"{name} is incomplete: there is no {path}", "`udml models verify` tells more")
    return path


def _thresholds(params: Path) -> object:
    return read_mapping(params).get("retrain")


def _is_up_to_date(workspace: Path) -> bool:
    # what is out of date may also be an error here, as data that changed are not there to be read
    command = [sys.executable, "-m", "dvc", "repro", "--dry", "--allow-missing"]
    done = subprocess.run(command, cwd=workspace, capture_output=True, text=True, check=False)
    return done.returncode == 0 and _UP_TO_DATE in done.stdout
