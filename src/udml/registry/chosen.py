"""Which model a command uses, with the index it made: one rule for all of them.

The champion where there is one, since it is what serves and what photos are added to; before the first
promotion, what the pipeline made last. A name says otherwise: "champion", "v1", ..., or "workspace".
"""

from dataclasses import dataclass
from pathlib import Path

from udml import config, paths
from udml.config import load_params, section_as_made
from udml.config.parse import Section
from udml.files import read_json
from udml.registry.bundle import INDEX_DIRECTORY, MODEL_FILE, PARAMS_FILE
from udml.registry.store import CHAMPION, champion_name, version_directory

WORKSPACE = "workspace"
_INFO_FILE = "index.json"  # that of udml.search.gallery, which loads FAISS


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

    def settings(self, section: type[Section], name: str) -> Section:
        """A section of the project's settings or, where no project is, of those the version was made with.

        Raises:
            UdmlError: as `load_params` does.
        """
        if self.directory is None or config.PARAMS_FILE.exists():
            found: Section = getattr(load_params(), name)
            return found
        return section_as_made(self.directory / PARAMS_FILE, section, name)


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
    try:
        made, kept = paths.INDEXED / _INFO_FILE, directory / INDEX_DIRECTORY / _INFO_FILE
        here, there = read_json(made), read_json(kept)
        return any(here[key] != there[key] for key in ("model_version", "data_version"))
    except (OSError, ValueError, KeyError):
        return False
