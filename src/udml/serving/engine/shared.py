"""Opening what serves from Milvus: the model of a version that lies here, and the collection there."""

from functools import partial
from pathlib import Path

from udml.collection.contract import CollectionStore, Groups
from udml.collection.shared.collection import SharedCollection, SharedGroups
from udml.collection.shared.connection import Connection
from udml.collection.shared.files import open_files
from udml.collection.shared.following import SharedStore
from udml.collection.shared.pushing import read_info
from udml.collection.shared.rows import CHAMPION, version_of
from udml.collection.shared.settling import Embed
from udml.errors import UdmlError
from udml.files import sha256_file
from udml.model_card import ModelCard
from udml.registry.bundle import LOCK_FILE, MANIFEST_FILE, MODEL_FILE, read_bundle, record
from udml.registry.store import VERSIONS
from udml.serving.engine.searcher import Searcher


def champion_of(connection: Connection) -> str:
    """The collection that serves.

    Raises:
        UdmlError: if nothing was pushed.
    """
    name = connection.behind(CHAMPION)
    if name is None:
        raise UdmlError(
            f"nothing serves from {connection.uri} yet", "`udml index push` brings the champion there"
        )
    return name


def open_champion(shared: SharedStore, models: Path, data: Path) -> Searcher:
    """Open what serves from Milvus; see `open_shared`."""
    connection = Connection(shared.uri)
    try:
        return open_shared(champion_of(connection), shared, models, data)
    finally:
        connection.close()


def open_shared(
    name: str, shared: SharedStore, models: Path, data: Path, threads: int | None = None
) -> Searcher:
    """Open a version's collection in Milvus with the model that made its vectors.

    Of the version's directory only the model, its manifest and its dvc.lock are needed here.

    Args:
        name: of the collection, as an alias gave it.
        shared: where it is.
        models: the registry, or a copy of it.
        data: the imported data, where originals are not on a remote.
        threads: as for `Searcher.open`.

    Raises:
        UdmlError: if the version is not here, or is not the one that was pushed.
    """
    version, manifest = version_of(name)
    directory = models / VERSIONS / version
    if not (directory / MANIFEST_FILE).exists():
        raise UdmlError(f"{version} serves, but {directory} is not here", "`udml models pull` brings it")
    bundle = read_bundle(directory)
    is_same = sha256_file(directory / MANIFEST_FILE).startswith(manifest)
    if not is_same or record(directory / MODEL_FILE) != bundle.files[MODEL_FILE]:
        raise UdmlError(
            f"{directory} is not the {version} that was pushed", "`udml models pull` it, or push it"
        )
    opened = partial(_open, name, shared, models, data, directory / LOCK_FILE)
    return Searcher(directory / MODEL_FILE, version, threads, opened)


def _open(
    name: str, shared: SharedStore, models: Path, data: Path, lock: Path, card: ModelCard, embed: Embed
) -> tuple[CollectionStore, Groups]:
    connection = Connection(shared.uri)
    try:
        info = read_info(connection, name)
        if (info.model_version, info.dim) != (card.model_version, card.embedding_dim):
            raise UdmlError(f"{name} was made by model {info.model_version}, here is {card.model_version}")
        files = open_files(shared.originals, data, models, lock)
        return SharedCollection(connection, name, info, files, embed), SharedGroups(connection, name)
    except BaseException:
        connection.close()
        raise
