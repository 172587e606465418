"""A registry whose collection is in Milvus: what it remembers of that, and what a promotion does there.

    models/shared.json   the address, and where originals are; written by `udml index push`

A version is pushed before it becomes the champion, unless it is there; the alias moves after all else. If
it can't be moved, the registry has its new champion and services go on with the old one, whole, until the
next push, promotion or rollback moves it.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from udml.errors import UdmlError, reason
from udml.files import exclusive, read_json, sha256_file, write_json

if TYPE_CHECKING:
    from udml.collection.shared.connection import Connection

SHARED_FILE = "shared.json"
_MANIFEST, _MODEL, _INDEX, _LOCK = "bundle.json", "model.onnx", "index", "dvc.lock"  # registry.bundle's
_REGISTRY_LOCK = ".lock"  # registry.store's
_WAIT = "services go on with the version before; `udml index push` tells them"


@dataclass(frozen=True)
class SharedStore:
    """Where a registry's collection is.

    Attributes:
        uri: of Milvus; see `Connection`.
        originals: URL of the DVC remote with the imported files; None for those of this checkout.
    """

    uri: str
    originals: str | None = None


def shared_store(models: Path) -> SharedStore | None:
    """What a registry remembers; None where its collection is on this machine.

    Raises:
        UdmlError: if the file is damaged.
    """
    path = models / SHARED_FILE
    try:
        return SharedStore(**read_json(path)) if path.exists() else None
    except (TypeError, ValueError, OSError) as error:
        raise UdmlError(
            f"{path} cannot be read: {reason(error)}", "`udml index push --uri ...` writes it anew"
        ) from error


def remember(models: Path, shared: SharedStore) -> None:
    """Promotions and rollbacks of this registry are told to this store from now on."""
    write_json(models / SHARED_FILE, asdict(shared))


def push_champion(models: Path, version: Path, shared: SharedStore, data: Path = Path("data")) -> int:
    """Bring the champion to a store, make it the one that serves there, and remember the store.

    Returns:
        Images in its collection.

    Raises:
        UdmlError: if that can't be done.
    """
    from udml.collection.shared.connection import Connection
    from udml.collection.shared.pushing import move_alias

    connection = Connection(shared.uri)
    try:
        with exclusive(models / _REGISTRY_LOCK):
            _push(connection, shared, models, version, data)
            move_alias(connection, collection_of(version))
            remember(models, shared)
        return connection.count(collection_of(version))
    finally:
        connection.close()


def bring(models: Path, version: Path, data: Path = Path("data")) -> None:
    """Push a version, verified already, to the registry's store, if there is one and it lacks it.

    Raises:
        UdmlError: if that can't be done; nothing has changed for anybody then.
    """
    _with_store(models, lambda connection, shared: _push(connection, shared, models, version, data))


def point(models: Path, version: Path) -> None:
    """Move the alias of the registry's store, if there is one, to a version that was brought.

    Raises:
        UdmlError: if that can't be done.
    """

    def move(connection: "Connection", _: SharedStore) -> None:
        from udml.collection.shared.pushing import move_alias

        try:
            move_alias(connection, collection_of(version))
        except UdmlError as error:
            raise UdmlError(f"{version.name} is the champion, but {error.what}", _WAIT) from error

    _with_store(models, move)


def collection_of(version: Path) -> str:
    """The name of a version's collection."""
    from udml.collection.shared.rows import collection_name

    return collection_name(version.name, sha256_file(version / _MANIFEST))


def _with_store(models: Path, work: "Callable[[Connection, SharedStore], None]") -> None:
    shared = shared_store(models)
    if shared is None:
        return
    from udml.collection.shared.connection import Connection

    connection = Connection(shared.uri)
    try:
        work(connection, shared)
    finally:
        connection.close()


def _push(connection: "Connection", shared: SharedStore, models: Path, version: Path, data: Path) -> None:
    from udml.collection.additions import ADDITIONS_FILE, Additions
    from udml.collection.shared import pushing
    from udml.collection.shared.files import open_files
    from udml.collection.shared.filtering.columns import Indexed, kinds_of, write_columns
    from udml.collection.shared.new_version import settle_all
    from udml.search.embedder import Embedder
    from udml.search.gallery import open_index
    from udml.search.items import ITEMS_FILE, Items

    name = collection_of(version)
    is_there = name in connection.ask("list_collections")
    if is_there and kinds_of(connection, name) is not None:
        return
    embedder = Embedder(version / _MODEL)
    index, items = open_index(version / _INDEX, embedder.card), Items(version / _INDEX / ITEMS_FILE)
    if is_there:  # brought before there were filters
        write_columns(connection, name, Indexed(index.ids, index.columns))
        return
    files = open_files(shared.originals, data, models, version / _LOCK)
    building = pushing.start(connection, index.info)
    pushing.upload(connection, building, index, items)
    write_columns(connection, name, Indexed(index.ids, index.columns))
    pushing.take_over(connection, Additions(models / ADDITIONS_FILE), files, items)
    settle_all(connection, building, index.info, files, embedder)
    pushing.finish(connection, building, name, index.info)
