"""A version: everything that serves and where it came from, in one directory that never changes.

models/versions/v3/
    bundle.json       what this is, and the sha256 and size of every other file
    model.onnx        the preprocessing is inside the graph
    index/            the FAISS index that this very model made
    metrics.json  protocols.json  params.yaml  dvc.lock
    bom.json          what it is made of, CycloneDX; older versions have none
"""

import os
import shutil
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

from udml import paths
from udml.errors import UdmlError
from udml.files import files_below, read_json, sha256_file, utc_now, write_json
from udml.registry.describing.bom import BOM_FILE, Facts, make_bom

MANIFEST_FILE = "bundle.json"
MODEL_FILE = "model.onnx"
INDEX_DIRECTORY = "index"
METRICS_FILE = "metrics.json"
PROTOCOLS_FILE = "protocols.json"  # how the figures were measured; older versions say so in metrics.json
PARAMS_FILE = "params.yaml"
LOCK_FILE = "dvc.lock"
PACKAGES_FILE = "requirements.lock"
_REGISTER = "register it again from its workspace with `udml models register`"


@dataclass(frozen=True)
class FileRecord:
    """One file of a bundle."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class Bundle:
    """What stands in bundle.json.

    Attributes:
        name: "v1", "v2", ... in order of registration.
        created: UTC, ISO 8601, to the second.
        model_version, data_version: of the model, and of the imported images in the index.
        images: how many images the index holds.
        git_revision: of the workspace it was made in, with "+changes" if that was not committed.
        protocol: how the model was trained, in one line.
        compacted_from: the version whose collection, as it was then, this one's index holds; None for
            an index that the pipeline made. Model and figures are that version's.
        files: by path inside the bundle, bundle.json left out.
    """

    name: str
    created: str
    model_version: str
    data_version: str
    images: int
    git_revision: str
    protocol: str
    compacted_from: str | None
    files: dict[str, FileRecord]


@dataclass(frozen=True)
class Sources:
    """The files of a workspace that make a version."""

    model: Path
    index: Path
    metrics: Path
    params: Path
    lock: Path
    protocols: Path | None = None
    packages: Path | None = None  # a lock file of packages, or an older version's bill of materials


def workspace_sources(workspace: Path = Path()) -> Sources:
    """The files of a workspace in which the pipeline ran."""
    return Sources(
        workspace / paths.MODEL,
        workspace / paths.INDEXED,
        workspace / paths.METRICS,
        workspace / PARAMS_FILE,
        workspace / LOCK_FILE,
        workspace / paths.PROTOCOLS,
        workspace / PACKAGES_FILE,
    )


def write_bundle(
    directory: Path,
    name: str,
    sources: Sources,
    revision: str | None = None,
    compacted_from: str | None = None,
) -> Bundle:
    """Copy the sources into the empty `directory` and describe them there. The caller syncs them to disk.

    Args:
        directory: an empty one.
        name: "v1", "v2", ...
        sources: what to copy.
        revision: git revision that they were made from; default that of the working directory.
        compacted_from: name of the version they were made from, if the workspace did not make them.

    Raises:
        UdmlError: if a source is missing, or the index was made by another model.
    """
    from udml.search.embedder import Embedder
    from udml.search.gallery import open_index

    needed = (sources.model, sources.index, sources.metrics, sources.params, sources.lock)
    missing = [str(path) for path in needed if not path.exists()]
    if missing:
        raise UdmlError(f"there is no {', no '.join(missing)}", "run `dvc repro` first")
    card = Embedder(sources.model).card
    info = open_index(sources.index, card).info
    shutil.copyfile(sources.model, directory / MODEL_FILE)
    shutil.copytree(sources.index, directory / INDEX_DIRECTORY, copy_function=shutil.copyfile)
    shutil.copyfile(sources.metrics, directory / METRICS_FILE)
    shutil.copyfile(sources.params, directory / PARAMS_FILE)
    shutil.copyfile(sources.lock, directory / LOCK_FILE)
    if sources.protocols is not None and sources.protocols.exists():
        shutil.copyfile(sources.protocols, directory / PROTOCOLS_FILE)
    revision = git_revision() if revision is None else revision
    model_sha256 = sha256_file(directory / MODEL_FILE)
    facts = Facts(name, card, model_sha256, info.count, info.data_version, revision)
    write_json(directory / BOM_FILE, make_bom(facts, read_json(sources.metrics), sources.packages))
    files = {str(path.relative_to(directory)): record(path) for path in files_below(directory)}
    bundle = Bundle(
        name=name,
        created=utc_now(),
        model_version=card.model_version,
        data_version=info.data_version,
        images=info.count,
        git_revision=revision,
        protocol=card.protocol,
        compacted_from=compacted_from,
        files=files,
    )
    write_json(directory / MANIFEST_FILE, asdict(bundle))
    for path in files_below(directory):
        path.chmod(0o444)
    return bundle


def read_bundle(directory: Path) -> Bundle:
    """Read a version's bundle.json.

    Raises:
        UdmlError: if it is missing or damaged.
    """
    path = directory / MANIFEST_FILE
    if not path.exists():
        raise UdmlError(f"{directory.name} is incomplete: there is no {path}", _REGISTER)
    try:
        values = read_json(path)
        files = {name: FileRecord(**record) for name, record in values.pop("files").items()}
        return Bundle(**values, files=files)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise UdmlError(f"{directory.name} is damaged: {path} ({error})", _REGISTER) from error


def verify_bundle(directory: Path) -> Bundle:
    """Read a version and compare every file with what was registered.

    Raises:
        UdmlError: naming every file that is missing, changed, or was not there before.
    """
    bundle = read_bundle(directory)
    there = {str(path.relative_to(directory)) for path in files_below(directory)} - {MANIFEST_FILE}
    wrong = [f"{name} is missing" for name in sorted(set(bundle.files) - there)]
    wrong += [f"{name} does not belong to it" for name in sorted(there - set(bundle.files))]
    wrong += [
        f"{name} was changed"
        for name in sorted(there & set(bundle.files))
        if record(directory / name) != bundle.files[name]
    ]
    if wrong:
        raise UdmlError(f"{bundle.name} is not what was registered: {'; '.join(wrong)}", _REGISTER)
    return bundle


def record(path: Path) -> FileRecord:
    """Hash and size of a file as it is now."""
    return FileRecord(sha256_file(path), path.stat().st_size)


def git_revision() -> str:
    """Revision of the working directory's repository; "+changes" if files differ from it, "" without git."""
    try:
        revision = _git("rev-parse", "HEAD")
        return revision + ("+changes" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def _git(*arguments: str) -> str:
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    return subprocess.run(
        ["git", *arguments], env=environment, capture_output=True, text=True, check=True
    ).stdout.strip()
