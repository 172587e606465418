"""How the service opens a version: only a signed one, where it was told so."""

from collections.abc import Callable
from pathlib import Path

from udml.registry.signing.check import read_key, require_signed
from udml.serving.engine.searcher import Searcher
from udml.serving.service.settings import Settings


def opener(settings: Settings, data: Path) -> Callable[[Path], Searcher]:
    """What opens the directory of a registered version.

    The key is read now: who can change its file later does not change whose versions serve.

    Raises:
        UdmlError: if there is no key where the settings name one.
    """
    key = None if settings.require_signature is None else read_key(settings.require_signature)

    def open_version(place: Path) -> Searcher:
        """Signed or not is told before any of its files is parsed; that they are its files, as it opens."""
        directory = place.resolve()
        if key is not None:
            require_signed(directory.parent.parent, directory.name, key)
        return Searcher.open(directory, data)

    return open_version
