"""Where the collection is, for commands that may find it in Milvus; `udml index push` brings it there."""

import argparse
from pathlib import Path

from udml import paths
from udml.cli.common import Commands, add_to
from udml.collection.shared.following import SharedStore, shared_store
from udml.errors import UdmlError


def add_store_arguments(command: argparse.ArgumentParser) -> None:
    """Add `--store` and what belongs to it."""
    command.add_argument(
        "--store",
        choices=("files", "milvus"),
        default="files",
        help="where the collection is: in models/ on this machine, or in Milvus (default: %(default)s)",
    )
    _add_places(command)


def store_of(options: argparse.Namespace, models: Path) -> SharedStore | None:
    """The store that the options mean; None for the one in the registry.

    Raises:
        UdmlError: if options are missing, or don't belong together.
    """
    if options.store == "files":
        if options.uri or options.originals:
            raise UdmlError("--uri and --originals are of a collection in Milvus", "add --store milvus")
        return None
    return _chosen(options, models)


def _chosen(options: argparse.Namespace, models: Path) -> SharedStore:
    """What the options say, else what the registry remembers."""
    known = shared_store(models)
    uri = options.uri or (known and known.uri)
    if not uri:
        raise UdmlError(
            "it is not known where Milvus is", "name it with --uri, such as http://127.0.0.1:19530"
        )
    return SharedStore(uri, options.originals or (known and known.originals) or None)


def _add_places(command: argparse.ArgumentParser) -> None:
    command.add_argument("--uri", help="address of Milvus, such as http://127.0.0.1:19530")
    command.add_argument(
        "--originals",
        metavar="URL",
        help="DVC remote with the imported files, such as s3://bucket/udml (default: data/ here)",
    )


def add_push(actions: Commands) -> None:
    """Add `index push`."""
    command = add_to(actions, "push", _push, "bring the champion into Milvus, for services that share it")
    command.description = (
        "Bring the champion's collection, with what was added to it, into Milvus, and let services there "
        "use it. From then on, promotions and rollbacks of this registry are followed there; docs/milvus.md."
    )
    _add_places(command)


def _push(options: argparse.Namespace) -> None:
    from udml.collection.shared.following import push_champion
    from udml.registry.store import CHAMPION, version_directory

    shared = _chosen(options, paths.MODELS)
    version = version_directory(paths.MODELS, CHAMPION)
    images = push_champion(paths.MODELS, version, shared)
    print(f"{version.name} serves from {shared.uri}: {images:,} images")
