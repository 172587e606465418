"""One browser for all tests of the page."""

import pytest


@pytest.fixture(scope="session")
def driver(tmp_path_factory):
    from tests.serving.http.browser import chromium  # selenium need not be there for the other tests

    with chromium(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    """A folder from which the page is given files."""
    monkeypatch.setenv("PYTEST_PICTURES", str(tmp_path))
