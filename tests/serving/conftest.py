from pathlib import Path

import pytest

from tests.serving.live import make_version
from tests.serving.small_service import BASE


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    """A directory with models/ and data/: one version of BASE, promoted."""
    make_version(tmp_path, BASE)
    return tmp_path
