"""Runs commands of udml one after the other, each in a process of its own, under a fault.

    python -m tests.cli.driver MODULE...

imports the modules once, so that no command has to, and then answers requests, a line of JSON each. What a
child of it does to the machine (mounts, a user's rights, missing packages) ends with it.
"""

import ctypes
import importlib
import io
import json
import os
import resource
import shutil
import signal
import socket
import struct
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 32, 4096, 16384, 1 << 18
_PR_CAPBSET_DROP = 24
_PERMISSION_CAPABILITIES = (1, 2)  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
_SHARED_BYTES = 1 << 20
PORT = "PORT_IN_USE"  # stands for the port in what is typed
ESCAPED = 99  # exit status: an exception came out of `main`


def _libc(call: str, *arguments: Any) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, call)(*arguments) != 0:
        raise OSError(ctypes.get_errno(), f"{call}: {os.strerror(ctypes.get_errno())}")


def own_mounts() -> None:
    """From here on, what this process mounts is seen by nobody else, and goes with it."""
    if os.geteuid() == 0:
        _libc("unshare", CLONE_NEWNS)
    else:
        user, group = os.geteuid(), os.getegid()
        _libc("unshare", CLONE_NEWNS | CLONE_NEWUSER)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    _libc("mount", None, b"/", None, MS_REC | MS_PRIVATE, None)


def copy(source: str, target: str) -> None:
    """A workspace of one's own, to be spoilt; large files, which nothing changes in place, are shared."""

    def shared(one: str, other: str) -> None:
        (os.link if os.path.getsize(one) > _SHARED_BYTES else shutil.copy2)(one, other)

    shutil.copytree(source, target, symlinks=True, copy_function=shared)


def read_only(folder: str) -> None:
    """`folder` is a disk that cannot be written."""
    name = os.fsencode(folder)
    _libc("mount", name, name, None, MS_BIND, None)
    _libc("mount", None, name, None, MS_BIND | MS_REMOUNT | MS_RDONLY, None)


def another_disk(folder: str) -> None:
    """`folder` is a disk of its own, with the content it has."""
    with tempfile.TemporaryDirectory() as aside:
        shutil.copytree(folder, Path(aside, "content"), symlinks=True)
        _libc("mount", b"none", os.fsencode(folder), b"tmpfs", 0, b"mode=755")
        shutil.copytree(Path(aside, "content"), folder, symlinks=True, dirs_exist_ok=True)


def full(source: str, target: str) -> None:
    """A workspace of one's own on a disk that has no room left."""
    Path(target).mkdir()
    needed = sum(path.lstat().st_size + 8192 for path in Path(source).rglob("*"))
    _libc("mount", b"none", os.fsencode(target), b"tmpfs", 0, f"size={needed + (1 << 20)},mode=755".encode())
    shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True, ignore=shutil.ignore_patterns("cache"))
    with Path(target, "filler").open("wb", buffering=0) as filler:
        for block in (1 << 16, 1 << 8, 1):
            try:
                while filler.write(b"x" * block):
                    pass
            except OSError:
                continue


def linked(folder: str, target: str) -> None:
    """`folder` is a link to where it lies in truth, which is another disk."""
    Path(target).mkdir()
    another_disk(target)
    shutil.move(folder, Path(target, "moved"))
    Path(folder).symlink_to(Path(target, "moved"))


def obey_permissions() -> None:
    """Root, too, may read and write only what the files' permissions allow."""
    if os.geteuid() != 0:
        return
    for capability in _PERMISSION_CAPABILITIES:  # so that no program that is started gets them back
        _libc("prctl", _PR_CAPBSET_DROP, capability, 0, 0, 0)
    header = struct.pack("Ii", 0x20080522, 0)
    data = ctypes.create_string_buffer(24)
    _libc("capget", header, data)
    effective, permitted, inheritable, *upper = struct.unpack("6I", data.raw)
    kept = ~sum(1 << capability for capability in _PERMISSION_CAPABILITIES)
    low = (effective & kept, permitted & kept, inheritable & kept)
    _libc("capset", header, struct.pack("6I", *low, *upper))


def forbid(path: str) -> None:
    """Nobody may read it."""
    os.chmod(path, 0)


def write_protect(folder: str) -> None:
    """Nobody may write in it."""
    for path in [Path(folder), *Path(folder).rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o555 if path.is_dir() else 0o444)


def remove(path: str) -> None:
    """It was never there."""
    if Path(path).is_dir() and not Path(path).is_symlink():
        shutil.rmtree(path)
    else:
        Path(path).unlink(missing_ok=True)


def folder(path: str) -> None:
    """An empty folder."""
    Path(path).mkdir()


def write(path: str, text: str) -> None:
    """A file of this content."""
    Path(path).write_bytes(os.fsencode(text))


def without(*packages: str) -> None:
    """These packages are not installed."""

    class Missing:
        def find_spec(self, name: str, *_: object) -> None:
            if name.partition(".")[0] in packages:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    loaded = [name for name in sys.modules if name.partition(".")[0] in packages]
    assert not loaded, f"loaded already: {loaded}"
    sys.meta_path.insert(0, Missing())  # type: ignore[arg-type]


def port_in_use() -> None:
    """Somebody else listens on the port that `udml serve` is given."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    os.environ[PORT] = str(listener.getsockname()[1])
    listener.detach()  # stays open


STEPS: dict[str, Callable[..., None]] = {
    step.__name__: step
    for step in (
        own_mounts, copy, read_only, another_disk, full, linked, obey_permissions, forbid, write_protect,
        remove, folder, write, without, port_in_use,
    )
}  # fmt: skip


def _stop_when_serving(said: Path) -> None:
    """`udml serve` runs until it is told to stop: tell it, as soon as it serves."""
    while b"serving on" not in said.read_bytes():
        time.sleep(0.05)
    # a signal between that line and the server's own handlers would be lost; a second one may come too late
    while getattr(signal.getsignal(signal.SIGTERM), "__name__", "") != "handle_exit":
        time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGTERM)


def _child(request: dict[str, Any], out: Path, err: Path, left: Path) -> None:
    os.setsid()
    unfinished = left.open("w")
    for number, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    encoding = sys.stdout.encoding
    sys.stdout = io.TextIOWrapper(io.FileIO(1, "w"), encoding, "strict", write_through=True)
    sys.stderr = io.TextIOWrapper(io.FileIO(2, "w"), encoding, "strict", write_through=True)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for name, *arguments in request["steps"]:
        STEPS[name](*arguments)
    os.chdir(request["cwd"])
    from udml.cli import main

    if request["argv"][0] in ("serve", "quickstart"):
        threading.Thread(target=_stop_when_serving, args=(out,), daemon=True).start()
    try:
        status = main([os.environ[PORT] if word == PORT else word for word in request["argv"]])
    except SystemExit as end:
        status = int(end.code or 0)
    unfinished.write("\n".join(_unfinished(Path())))
    unfinished.flush()
    os._exit(status)


def _unfinished(workspace: Path) -> list[str]:
    """Files that the command began and did not finish, but for those that it goes on with next time."""
    found = (path for path in workspace.rglob(".*") if not {".dvc", ".git", ".scratch"} & set(path.parts))
    return [repr(str(path)) for path in found if path.name.endswith((".tmp", ".old"))]


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Run one command; how it ended, and what it said."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        out, err = Path(folder, "out"), Path(folder, "err")
        left = Path(folder, "left")
        for path in (out, err, left):
            path.touch()
        child = os.fork()
        if child == 0:
            try:
                _child(request, out, err, left)
            except BaseException:
                os.write(2, traceback.format_exc().encode(errors="backslashreplace"))
            finally:
                os._exit(ESCAPED)
        status = _wait(child, request["timeout_seconds"])
        said = [path.read_bytes().decode(sys.stdout.encoding, "backslashreplace") for path in (out, err)]
        unfinished = left.read_text()
    return {"status": status, "out": said[0], "err": said[1], "unfinished": unfinished}


def _wait(child: int, timeout_seconds: float) -> int | None:
    """The exit status; None for a command that did not end, which is then ended."""
    deadline = time.monotonic() + timeout_seconds
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


if __name__ == "__main__":
    for module in sys.argv[1:]:
        importlib.import_module(module)
    replies = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), file=replies, flush=True)
