"""A workspace whose pipeline has run, in miniature, with pictures to search with."""

from pathlib import Path

import pytest
from PIL import Image

from tests.fixtures.models import pictures
from tests.monitor.workspace import make_workspace, save
from udml import Searcher


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Settings, a model and its index, nothing registered; pictures in `new`, the first as `one.png`."""
    root = make_workspace(tmp_path / "workspace")
    save(root / "new", pictures(3, seed=7))
    Image.fromarray(pictures(1, seed=7)[0]).save(root / "one.png")
    monkeypatch.chdir(root)
    # the originals of what is indexed are not there
    monkeypatch.setattr(Searcher, "picture", lambda self, image_id, short_side_px: Image.new("RGB", (60, 40)))
    return root
