"""Parquet files, written whole or not at all, under any name."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from udml.files import atomic_path


def write_table(path: Path, table: pa.Table) -> None:
    """Write a Parquet file atomically."""
    # Arrow takes no name that is not UTF-8
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        pq.write_table(table, file, compression="zstd")
