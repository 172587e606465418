"""Vectors of files, in a file: Parquet, which needs pyarrow, or NumPy's own format, which needs nothing."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from udml.errors import UdmlError, install_hint
from udml.files import atomic_path, write_json
from udml.model_card import ModelCard
from udml.search.embedder import EmbeddedFiles
from udml.text import printable, source_name

NUMPY_SUFFIX = ".npy"


def require_writable(out: Path) -> None:
    """Refuse, before any work, a file that could not be written in the end.

    Raises:
        UdmlError: if it is to be Parquet, and there is no pyarrow.
    """
    if out.suffix.lower() != NUMPY_SUFFIX and find_spec("pyarrow") is None:
        raise UdmlError(
            f"{out} would be Parquet, which needs pyarrow",
            f"name a file that ends in {NUMPY_SUFFIX}, or {install_hint('pipeline')}",
        )


def write_vectors(out: Path, embedded: EmbeddedFiles, card: ModelCard) -> str:
    """Write vectors with the paths they belong to, and the model's card; says what was written.

    A `.npy` file is float32 [n, d]; the paths, a row each, and the card stand beside it under the same name
    with `.json`. Any other file is Parquet: columns `path` and `embedding`, the card in its metadata. Bytes
    of paths that are not UTF-8 are backslash escapes.
    """
    names = [source_name(str(path)) for path in embedded.paths]
    count = f"{len(names):,} vectors of {card.embedding_dim} numbers"
    if out.suffix.lower() == NUMPY_SUFFIX:
        beside = out.with_suffix(".json")
        with atomic_path(out) as temporary, temporary.open("wb") as file:
            np.save(file, embedded.vectors)
        write_json(beside, {"paths": names, "model": card.to_metadata()})
        return f"wrote {count} to {printable(out)} (NumPy), and their paths to {printable(beside)}"
    import pyarrow as pa

    from udml.parquet import write_table

    vectors = pa.FixedSizeListArray.from_arrays(embedded.vectors.ravel(), card.embedding_dim)
    table = pa.table({"path": names, "embedding": vectors}).replace_schema_metadata(card.to_metadata())
    write_table(out, table)
    return f"wrote {count} to {printable(out)} (Parquet)"
