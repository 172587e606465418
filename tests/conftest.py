"""Shared fixtures: the real photographs, and a tiny training set."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("DVC_NO_ANALYTICS", "1")
os.environ.setdefault("DO_NOT_TRACK", "1")

ROOT = Path(__file__).parent.parent
GROCERY = ROOT.parent / "shared" / "data" / "grocery"


@pytest.fixture(scope="session")
def grocery() -> Path:
    """The Grocery Store Dataset; it is not part of the project."""
    if not (GROCERY / "train.txt").exists():
        pytest.skip(f"the Grocery Store Dataset is not at {GROCERY}")
    return GROCERY
