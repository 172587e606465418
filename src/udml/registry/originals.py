"""Originals of registered versions, kept when another import that lacks them takes the place of theirs.

    models/originals/<data version>/shards/   hard links: no byte is copied

Versions show pictures by what their import held. Which of these folders is needed no more, people decide.
"""

import os
from pathlib import Path

from udml.data.importing.manifest import read_manifest, what_is_there
from udml.data.originals import ORIGINALS
from udml.data.shards import shard_path
from udml.errors import UdmlError
from udml.registry.store import versions


def keep_originals(models: Path, data_root: Path, new: Path) -> list[str]:
    """Keep those shards of `data_root`, which `new` is to replace, that a registered version shows.

    Returns:
        What was kept, and what it costs, or why it could not be: sentences.
    """
    data_version, _ = what_is_there(data_root)
    try:
        names = [bundle.name for bundle in versions(models) if bundle.data_version == data_version]
    except UdmlError:  # a damaged one; whoever uses it is told
        names = []
    shards = _shards_lacking(data_root, new) if data_version and names else []
    if not shards:
        return []
    kept = models / ORIGINALS / data_version
    mib = sum(path.stat().st_size for path in shards) / 2**20
    try:
        (kept / "shards").mkdir(parents=True, exist_ok=True)
        for path in shards:
            place = kept / "shards" / path.name
            if not place.exists():
                os.link(path, place)
    except OSError as error:
        return [
            f"pictures of {', '.join(names)} are not in the new data, and could not be kept in {kept} "
            f"({error.strerror}); `dvc checkout` of the old data brings them back ({mib:,.1f} MiB)"
        ]
    return [f"{kept} keeps pictures of {', '.join(names)} that the new data lack ({mib:,.1f} MiB)"]


def _shards_lacking(old: Path, new: Path) -> list[Path]:
    """The shards of `old` that hold a file of which `new` has no copy; those there are."""
    held, coming = read_manifest(old), set(read_manifest(new)["sha256"].to_pylist())
    rows = zip(held["sha256"].to_pylist(), held["shard"].to_pylist(), strict=True)
    lacking = sorted({shard for sha256, shard in rows if shard >= 0 and sha256 not in coming})
    return [path for path in (shard_path(old, shard) for shard in lacking) if path.exists()]
