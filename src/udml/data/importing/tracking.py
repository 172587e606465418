"""The imported data under DVC."""

import os
import subprocess
import sys
from pathlib import Path

import yaml

from udml.config.yaml_file import read_mapping
from udml.data.importing.manifest import read_manifest
from udml.errors import UdmlError
from udml.files import atomic_path
from udml.text import printable

BEHIND_A_LINK = (
    "is a link: DVC tracks nothing behind one, so these images have no version; "
    "`dvc cache dir` moves DVC's copies to the big disk instead, and a mount at data/ is tracked"
)


def track(data_root: Path) -> None:
    """Run `dvc add` on the new data, where there is a DVC repository; note in data.dvc what they are."""
    project = data_root.absolute().parent
    if not (project / ".dvc").is_dir():
        return
    done = run_dvc(project, "add", data_root.name)
    if done.returncode != 0:
        raise UdmlError(
            f"the images are imported, but `dvc add {data_root.name}` failed: {said(done)}",
            f"mend that, then run `dvc add {data_root.name}`",
        )
    facts = {key.decode(): value.decode() for key, value in read_manifest(data_root).schema.metadata.items()}
    pointer = pointer_of(data_root)
    tracked = read_mapping(pointer)
    tracked["meta"] = {key: facts[key] for key in ("layout", "protocol")}
    with atomic_path(pointer) as temporary:
        temporary.write_text(yaml.safe_dump(tracked, sort_keys=False))


def pointer_of(data_root: Path) -> Path:
    """Where DVC keeps what it knows of `data_root`: data.dvc beside data/."""
    return data_root.with_name(data_root.name + ".dvc")


def run_dvc(project: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run DVC on `project`; what it says is captured."""
    command = [sys.executable, "-m", "dvc", *arguments]
    environment = {**os.environ, "DVC_NO_ANALYTICS": "1"}
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)


def said(done: "subprocess.CompletedProcess[str]") -> str:
    """What a command said of its failure, less where DVC's makers can be reached."""
    both = done.stderr.strip() or done.stdout.strip() or f"it ended with status {done.returncode}"
    lines = [line.strip() for line in both.splitlines() if not line.startswith("Having any troubles?")]
    return "\n  ".join(printable(line) for line in lines if line)
