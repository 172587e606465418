"""`udml quickstart`: workspace, import, pipeline, version, service and browser, one after the other.

Each step is a command that people can type themselves, and goes on where it was killed, so all of it does.
"""

import os
import shlex
import subprocess
import sys
import threading
import time
import urllib.request
import webbrowser
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from importlib.resources import files
from importlib.util import find_spec
from math import ceil
from pathlib import Path

from udml import paths
from udml.config import PARAMS_FILE, load_params
from udml.errors import UdmlError, install_hint
from udml.files import SCRATCH, fingerprint, read_json, write_json
from udml.quickstart.champion import have_champion
from udml.serving.serve import is_free, serve
from udml.serving.service.settings import Settings
from udml.text import printable
from udml.walking.rules import WalkRules
from udml.walking.walk import LeftOut, walk
from udml.workspace.start import start_workspace

SAMPLE = "places"
_IMPORTED = SCRATCH / "quickstart.json"  # which files of which folder were imported last
_NEEDED = ("dvc", "torch", "fastapi", "uvicorn")
_POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Wanted:
    """What was asked for.

    Attributes:
        folder: the pictures, absolute; None for the built-in sample.
        workspace: where everything is kept, absolute.
        port: to serve on; another is taken where it is in use.
        browser: whether to open one.
    """

    folder: Path | None
    workspace: Path
    port: int
    browser: bool


def default_workspace(folder: Path | None) -> Path:
    """`udml-NAME` in the present directory or, where that lies among the pictures, beside them."""
    if folder is None:
        return Path.cwd() / f"udml-{SAMPLE}"
    folder, here = folder.resolve(), Path.cwd()
    inside = here == folder or folder in here.parents
    return (folder.parent if inside else here) / f"udml-{folder.name or SAMPLE}"


def quickstart(wanted: Wanted) -> None:
    """Go from nothing to a page in the browser, and serve it until Ctrl-C.

    Raises:
        UdmlError: if packages are missing, the pictures are too few, or a step fails; what was done is kept.
    """
    begun = time.monotonic()
    lacking = next((name for name in _NEEDED if not _is_there(name)), None)
    if lacking:
        raise UdmlError(f"quickstart needs the package {lacking}", install_hint("pipeline,serve"))
    if wanted.folder is not None:
        require_enough(wanted.folder, wanted.workspace)
    _say(1, start_workspace(wanted.workspace))
    os.chdir(wanted.workspace)
    have_pictures(wanted.folder)
    _say(3, "running the pipeline: on two cores the sample takes about five minutes, once")
    run_step([sys.executable, "-m", "dvc", "repro"])
    _say(4, have_champion(paths.MODELS))
    print(f"      report: {(paths.REPORT / 'index.html').resolve().as_uri()}", flush=True)
    settings = Settings(port=wanted.port)
    if not wanted.port or not is_free(settings):
        settings = replace(settings, port=_free_port(settings.host))
    _say(
        5, f"serving; Ctrl-C ends it, `cd {shlex.quote(str(wanted.workspace))} && udml serve` starts it again"
    )
    address = f"http://{settings.host}:{settings.port}/"
    threading.Thread(target=_when_ready, args=(address, begun, wanted.browser), daemon=True).start()
    serve(settings, paths.MODELS, paths.DATA)


def have_pictures(folder: Path | None) -> None:
    """Import a folder unless the same files of it are here already; without one, have some data.

    Raises:
        UdmlError: if the import fails.
    """
    from udml.data.importing.ensure import ensure_data
    from udml.data.importing.importer import import_data
    from udml.registry.originals import keep_originals

    if folder is None:
        _say(2, f"pictures: the built-in sample `{SAMPLE}`, unless there are some")
        print(f"      {ensure_data(paths.DATA)}", flush=True)
        return
    listed = list_files(folder)
    state = {"folder": str(folder), "files": fingerprint(listed)}
    with suppress(OSError, ValueError):
        if read_json(_IMPORTED) == state and paths.DATA.exists():
            _say(2, f"pictures: the {len(listed):,} files of {printable(folder)} are imported already")
            return
    _say(2, f"pictures: importing {printable(folder)}; it is read, never changed")
    begun = time.monotonic()
    summary = import_data(folder, None, paths.DATA, before_replacing=partial(keep_originals, paths.MODELS))
    print("\n".join(f"      {printable(line)}" for line in summary.lines()))
    _say_done(begun)
    write_json(_IMPORTED, state)


def list_files(folder: Path) -> list[tuple[str, int, int]]:
    """Every file of a folder that may be a picture: its path, its bytes, when it was written (ns)."""
    listed = []
    for found in walk(folder, WalkRules(), LeftOut()):
        with suppress(OSError):
            facts = found.path.stat()
            listed.append((os.fsencode(found.relative).hex(), facts.st_size, facts.st_mtime_ns))
    return sorted(listed)


def require_enough(folder: Path, workspace: Path) -> None:
    """Refuse a folder with too few pictures to learn from, by the settings of the workspace or of a new one.

    Raises:
        UdmlError: if they are too few, or the settings are wrong.
    """
    own, new = workspace / PARAMS_FILE, Path(str(files("udml"))) / "presets" / "laptop.yaml"
    params, count = load_params(own if own.exists() else new), len(list_files(folder))
    share, rules = params.prepare.test_share, params.validate
    least = ceil(max(rules.min_train_images / (1 - share), rules.min_test_images / max(share, 1e-9)))
    if count < least:
        raise UdmlError(
            f"{printable(folder)} holds {count:,} pictures, too few to learn from: it takes {least:,}, "
            "some to train on and others to test on",
            "name a folder with more",
        )


def run_step(command: list[str]) -> None:
    """Run a command on this terminal, and say how long it took.

    Raises:
        UdmlError: if it fails; what it said is on the terminal already.
    """
    begun = time.monotonic()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    status = subprocess.run(command, env={**os.environ, "PATH": path}, check=False).returncode
    typed = " ".join(command).replace(f"{sys.executable} -m ", "")
    if status != 0:
        raise UdmlError(
            f"`{printable(typed)}` failed in {printable(Path.cwd())}; why is said above",
            "mend it, then run the same quickstart again: what was done is kept",
        )
    _say_done(begun)


def _say_done(begun: float) -> None:
    print(f"      done in {time.monotonic() - begun:.0f} s", flush=True)


def _is_there(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:
        return False


def _free_port(host: str) -> int:
    """A port that nobody has now."""
    import socket

    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _when_ready(address: str, begun: float, browser: bool) -> None:
    """Once the service answers, say so, and open the page where there is a screen to open it on."""
    while True:
        with suppress(OSError), urllib.request.urlopen(f"{address}readyz", timeout=5):
            break
        time.sleep(_POLL_SECONDS)
    opened = browser and _has_screen() and webbrowser.open(address)
    said = "the page is open in your browser" if opened else f"open {address} in your browser"
    print(f"{said}; {time.monotonic() - begun:.0f} s in all", flush=True)


def _has_screen() -> bool:
    """Whether a browser would have a window: one in the terminal would take it away."""
    return sys.platform in ("darwin", "win32") or bool(
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )


def _say(step: int, sentence: str) -> None:
    print(f"[{step}/5] {sentence}", flush=True)
