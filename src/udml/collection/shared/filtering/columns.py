"""The columns of a version's index in Milvus: never changed, read once by each service that filters.

They are one compressed file in parts, whatever columns there are.
"""

import base64
import hashlib
import io
import json
import zipfile
import zlib
from dataclasses import dataclass

import numpy as np

from udml.collection.shared.connection import Connection
from udml.collection.shared.filtering import said
from udml.errors import UdmlError
from udml.search.columns import Column, Columns, Kind

_PART_BYTES = 49_149  # 65,532 in base64; Milvus takes 65,535


@dataclass(frozen=True, eq=False)
class Indexed:
    """What is known of a version's images.

    Attributes:
        ids: int64 [n], in the order of the index.
        columns: [n].
    """

    ids: np.ndarray
    columns: Columns


def write_columns(connection: Connection, name: str, indexed: Indexed) -> None:
    """Keep the columns of a version's collection; what tells that they are there is written last."""
    packed = _packed(indexed)
    parts = [packed[at : at + _PART_BYTES] for at in range(0, len(packed), _PART_BYTES)]
    said.put(
        connection, {_part(name, number): base64.b64encode(p).decode() for number, p in enumerate(parts)}
    )
    kinds = {column: one.kind for column, one in indexed.columns.items()}
    head = {"parts": len(parts), "sha256": hashlib.sha256(packed).hexdigest(), "kinds": kinds}
    said.put(connection, {_head(name): json.dumps(head)})


def kinds_of(connection: Connection, name: str) -> dict[str, Kind] | None:
    """Which columns a version's collection has; None of one that was pushed before there were any."""
    head = said.get(connection, [_head(name)]).get(_head(name))
    return None if head is None else json.loads(head)["kinds"]


def read_columns(connection: Connection, name: str) -> Indexed | None:
    """The columns of a version's collection; None of one that was pushed before there were any.

    Raises:
        UdmlError: if they are damaged.
    """
    told = said.get(connection, [_head(name)]).get(_head(name))
    if told is None:
        return None
    try:
        head = json.loads(told)
        names = [_part(name, number) for number in range(head["parts"])]
        found = said.get(connection, names)
        packed = b"".join(base64.b64decode(found[one]) for one in names)
        if hashlib.sha256(packed).hexdigest() != head["sha256"]:
            raise ValueError("it is not what was written")
        return _unpacked(packed)
    except (ValueError, KeyError, TypeError, OSError, zipfile.BadZipFile, zlib.error) as error:
        raise UdmlError(
            f"the columns of {name} at {connection.uri} are damaged: {error}", "search without a filter"
        ) from error


def _packed(indexed: Indexed) -> bytes:
    told = [{"name": n, "kind": c.kind, "texts": c.texts} for n, c in indexed.columns.items()]
    values = {f"column-{number}": c.values for number, c in enumerate(indexed.columns.values())}
    written = np.frombuffer(json.dumps(told).encode(), np.uint8)
    file = io.BytesIO()
    np.savez_compressed(file, told=written, ids=indexed.ids, **values)  # type: ignore[arg-type]
    return file.getvalue()


def _unpacked(packed: bytes) -> Indexed:
    with np.load(io.BytesIO(packed), allow_pickle=False) as arrays:
        told = json.loads(arrays["told"].tobytes())
        columns = {
            one["name"]: Column(one["kind"], arrays[f"column-{number}"], tuple(one["texts"]))
            for number, one in enumerate(told)
        }
        return Indexed(arrays["ids"], columns)


def _head(name: str) -> str:
    return f"{name}/columns"


def _part(name: str, number: int) -> str:
    return f"{name}/columns/{number:06d}"
