"""The columns of an index, from the catalogue that it is made of; for the stage `index` alone, by pandas."""

import numpy as np
import pandas as pd

from udml.data.identity import folder_of
from udml.data.importing.given import PREFIX
from udml.search.columns.columns import NO_TIME, Column, Columns


def columns_of_catalog(catalog: pd.DataFrame) -> Columns:
    """The columns that `udml.search.columns.OWN` names, then those of the user's manifest, a row an image.

    Of a catalogue of before there were capture times and cameras, no image has one.
    """
    nothing = pd.Series(None, catalog.index, dtype=object)
    own = {
        "folder": _text(catalog["source"].map(folder_of)),
        "taken": _time(catalog.get("taken", nothing)),
        "camera": _text(catalog.get("camera", nothing)),
        "label": _text(catalog["label"]),
    }
    given = [name for name in catalog.columns if name.startswith(PREFIX)]
    return own | {name.removeprefix(PREFIX): _column(catalog[name]) for name in given}


def _column(values: pd.Series) -> Column:
    if pd.api.types.is_datetime64_any_dtype(values):
        return _time(values)
    if pd.api.types.is_float_dtype(values):
        return Column("number", values.to_numpy(np.float64))
    return _text(values)


def _text(values: pd.Series) -> Column:
    codes, texts = pd.factorize(values.astype(object), sort=True)
    return Column("text", codes.astype(np.int32), tuple(map(str, texts)))


def _time(values: pd.Series) -> Column:
    seconds = pd.to_datetime(values).astype("datetime64[s]").to_numpy().astype(np.int64)
    return Column("time", np.where(values.isna().to_numpy(), NO_TIME, seconds))
