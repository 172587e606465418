"""What is known of each image besides its pixels, by columns: folder, capture time, camera, label, and what a
manifest says.
"""

from udml.search.columns.columns import (
    NO_TEXT,
    NO_TIME,
    OWN,
    Column,
    Columns,
    Kind,
    Value,
    column_of,
    columns_of,
    joined,
    take,
    value_at,
)
from udml.search.columns.files import COLUMNS_FILE, column_files, read_columns, write_columns

__all__ = [
    "COLUMNS_FILE",
    "NO_TEXT",
    "NO_TIME",
    "OWN",
    "Column",
    "Columns",
    "Kind",
    "Value",
    "column_files",
    "column_of",
    "columns_of",
    "joined",
    "read_columns",
    "take",
    "value_at",
    "write_columns",
]
