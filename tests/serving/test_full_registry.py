"""A disk that is full at any of a promotion's steps: the old champion stays, and the next try is in force."""

import errno
import os
from pathlib import Path

import pytest

from tests.registry.workspace import make_sources
from udml.registry import store

STEPS = ("fsync", "symlink", "replace", "write")


@pytest.fixture
def models(tmp_path):
    for seed in (0, 1):
        place = tmp_path / f"made-{seed}"
        place.mkdir()
        store.register(tmp_path / "models", make_sources(place, seed))
    store.promote(tmp_path / "models", "v1", "first")
    return tmp_path / "models"


def fail_at(step, nth, monkeypatch):
    """Let the `nth` call of a step, and all later ones, say that the disk is full."""
    calls = 0

    def full(does):
        def call(*arguments, **named):
            nonlocal calls
            calls += 1
            if calls >= nth:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return does(*arguments, **named)

        return call

    if step == "write":  # half an entry of the log gets there

        def half(models, *what, **more):
            with (models / store.LOG_FILE).open("ab") as file:
                file.write(b'{"event": "promote", "ver')
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(store, "_append", half)
    else:
        monkeypatch.setattr(os, step, full(getattr(os, step)))


def left_over(models: Path) -> list[str]:
    return [path.name for path in models.rglob("*.tmp") if path.name != f".{store.CHAMPION}.tmp"]


@pytest.mark.parametrize(
    "change", [store.promote, lambda models, name, reason: store.rollback(models, reason)]
)
@pytest.mark.parametrize("step", STEPS)
def test_the_old_champion_stays_and_the_next_try_is_in_force(models, step, change):
    before, after = ("v1", "v2") if change is store.promote else ("v2", "v1")
    if change is not store.promote:
        store.promote(models, "v2", "")
    history = store.champions_until_now(models)
    with pytest.MonkeyPatch.context() as full:
        fail_at(step, 1, full)
        with pytest.raises(OSError, match="No space left"):
            change(models, after, "again")
        assert store.champion_name(models) == before
        with pytest.raises(OSError, match="No space left"):  # what it tries to put right needs room too
            change(models, after, "again")
        assert store.champion_name(models) == before
    change(models, after, "there is room")
    assert store.champion_name(models) == after
    expected = [*history, "v2"] if change is store.promote else history[:-1]
    assert store.champions_until_now(models) == expected
    assert not left_over(models)


def test_a_disk_that_is_full_once_it_is_done_changes_nothing_of_it(models, monkeypatch):
    """The log and the link are there; what fails is to have them written for sure."""
    with pytest.MonkeyPatch.context() as full:
        fail_at("fsync", 2, full)
        with pytest.raises(OSError, match="No space left"):
            store.promote(models, "v2", "")
    assert store.champion_name(models) == "v2"
    store.promote(models, "v2", "again")
    assert store.champions_until_now(models) == ["v1", "v2"]
