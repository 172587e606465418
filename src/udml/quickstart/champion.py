"""What the pipeline made last, as the version that serves."""

from pathlib import Path

from udml import paths
from udml.files import read_json
from udml.registry import store
from udml.registry.bundle import Bundle, workspace_sources
from udml.search.gallery import INFO_FILE

_REASON = "quickstart"


def have_champion(models: Path) -> str:
    """Register and promote what the pipeline made last, unless that was done; returns a sentence.

    A version that was registered already is not promoted over the champion that a person chose since.

    Raises:
        UdmlError: if the pipeline has made nothing yet, or a version is damaged.
    """
    made, champion = _made(models), store.champion_name(models)
    if made is not None and champion is not None:
        return f"{champion} is the champion, and what the pipeline made last is {made.name}"
    bundle = made or store.register(models, workspace_sources())
    store.promote(models, bundle.name, _REASON)
    return f"{bundle.name} is the champion, which is what is searched"


def _made(models: Path) -> Bundle | None:
    """The version that holds what the pipeline made last; None if it was not registered."""
    if not (paths.INDEXED / INFO_FILE).exists():
        return None
    info = read_json(paths.INDEXED / INFO_FILE)
    made = (info["model_version"], info["data_version"])
    found = [one for one in store.versions(models) if (one.model_version, one.data_version) == made]
    return found[-1] if found else None
