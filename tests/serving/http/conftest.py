"""One browser for all tests of the page; a registry with mixtures and copies for all that ask it."""

import pytest

from tests.serving.live import make_version
from tests.serving.small_service import BASE
from udml import Searcher

# said to be copies, so that they are far apart
COPIES = {BASE[2][0]: BASE[1][0], BASE[9][0]: BASE[1][0]}


@pytest.fixture(scope="session")
def driver(tmp_path_factory):
    from tests.serving.http.browser import chromium  # selenium need not be there for the other tests

    with chromium(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture(scope="module")
def mixed_registry(tmp_path_factory):
    root = tmp_path_factory.mktemp("registry")
    make_version(root, BASE, mixed=True, copy_of=COPIES)
    return root


@pytest.fixture(scope="module")
def searcher(mixed_registry):
    with Searcher.open(mixed_registry / "models/champion", mixed_registry / "data", 1) as opened:
        yield opened


def vector(searcher, file, crop=None):
    return searcher.embed_images([searcher.decode(file[1], crop=crop)])[0]


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    """A folder from which the page is given files."""
    monkeypatch.setenv("PYTEST_PICTURES", str(tmp_path))
