"""A registry whose images have columns; every column's values are told by the image's number."""

import pytest

from tests.serving import live
from tests.serving.http.conftest import COPIES, driver, pictures, vector
from tests.serving.small_service import BASE
from udml import Searcher
from udml.search.columns import columns_of, write_columns

__all__ = ["driver", "pictures", "vector"]
KINDS = {"folder": "text", "taken": "time", "camera": "text", "label": "text", "number": "number"}
MONTH_SECONDS = 31 * 86_400
FACTS = [
    {
        "folder": f"20{20 + row % 4}/trip",
        "taken": None if row % 5 == 0 else row * MONTH_SECONDS,
        "label": label,
        "number": float(row),
    }
    for row, (_, _, label) in enumerate(BASE)
]


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    root = tmp_path_factory.mktemp("filtered")
    real = live.write_index

    def with_columns(directory, *what):
        real(directory, *what)
        write_columns(directory, columns_of(FACTS, KINDS))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(live, "write_index", with_columns)
        live.make_version(root, BASE, mixed=True, copy_of=COPIES)
    return root


@pytest.fixture(scope="module")
def searcher(registry):
    with Searcher.open(registry / "models/champion", registry / "data", 1) as opened:
        yield opened


def sources(met):
    """Names of the images whose facts meet a Python function."""
    return {BASE[row][0] for row, facts in enumerate(FACTS) if met(facts)}
