"""Which model a command uses, with the index it made: one rule for all of them.

The champion where there is one, since it is what serves and what photos are added to; before the first
promotion, what the pipeline made last. A name says otherwise: "champion", "v1", ..., or "workspace".
"""

from dataclasses import dataclass
from pathlib import Path

from udml import config, paths
from udml.config import Params, load_params
from udml.files import read_json
from udml.registry.bundle import INDEX_DIRECTORY, MODEL_FILE, PARAMS_FILE
from udml.registry.store import CHAMPION, champion_name, version_directory

WORKSPACE = "workspace"


@dataclass(frozen=True)
class Chosen:
    """A model and its index.

    Attributes:
        name: "v1", "v2", ..., or "workspace" for what is not registered.
        model: the ONNX file; it may be missing.
        index: the directory; it may be missing.
        directory: of the version, links resolved; None for the workspace.
        described: the name in words, for people.
    """

    name: str
    model: Path
    index: Path
    directory: Path | None
    described: str

    def params(self) -> Params:
        """The project's settings or, where no project is, as in an install for serving, the version's own.

        Raises:
            UdmlError: as `load_params` does.
        """
        if self.directory is None or config.PARAMS_FILE.exists():
            return load_params()
        return load_params(self.directory / PARAMS_FILE)


def choose(name: str | None = None, models: Path = paths.MODELS) -> Chosen:
    """What `name` stands for; None for the champion, or where there is none, the workspace.

    Raises:
        UdmlError: if there is no version of that name.
    """
    champion = champion_name(models)
    if name == WORKSPACE or (name is None and champion is None):
        why = "" if name else ", as no version is the champion yet"
        return Chosen(
            WORKSPACE, paths.MODEL, paths.INDEXED, None, f"the workspace, what the pipeline made last{why}"
        )
    directory = version_directory(models, CHAMPION if name is None else name)
    described = directory.name + (", the champion" if directory.name == champion else "")
    if name is None and _workspace_differs(directory):
        described += f" (`--version {WORKSPACE}`: what the pipeline made last)"
    return Chosen(
        directory.name, directory / MODEL_FILE, directory / INDEX_DIRECTORY, directory.resolve(), described
    )


def _workspace_differs(directory: Path) -> bool:
    """Whether the pipeline has made an index here of another model, or other data, than this version's."""
    from udml.search.gallery import INFO_FILE  # FAISS, which a wrong name need not wait for

    try:
        here, there = (read_json(index / INFO_FILE) for index in (paths.INDEXED, directory / INDEX_DIRECTORY))
        return any(here[key] != there[key] for key in ("model_version", "data_version"))
    except (OSError, ValueError, KeyError):
        return False
