"""Kill the process at every kind of moment of register, promote and rollback."""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.registry.workspace import make_sources
from udml.registry import store

# whatever changes a file, a directory or a link
_CALLS = (
    "os.rename",
    "os.remove",
    "os.symlink",
    "os.mkdir",
    "os.chmod",
    "os.truncate",
    "open",
    "shutil.copyfile",
)
KILLED = 9


@pytest.fixture(scope="module")
def workspaces(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path]]:
    """A registry with two versions, the first being champion, and sources for more."""
    made = [tmp_path_factory.mktemp("workspace") for _ in range(3)]
    models = tmp_path_factory.mktemp("registry") / "models"
    for seed, directory in enumerate(made):
        sources = make_sources(directory, seed)
        if seed < 2:
            store.register(models, sources)
    store.promote(models, "v1", "")
    return models, made


def in_a_process_killed_at(moment: int, work: Callable[[], object]) -> bool:
    """Run `work` in a forked process that dies, cleaning nothing up, before its `moment`-th change.

    Returns:
        Whether it was killed; else it finished.
    """
    child = os.fork()
    if child == 0:
        left = [moment]

        def watch(event: str, arguments: tuple[object, ...]) -> None:
            if event in _CALLS:
                left[0] -= 1
                if left[0] == 0:
                    os._exit(KILLED)

        sys.addaudithook(watch)
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, KILLED)
    return status == KILLED


@pytest.mark.slow
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(
        st.tuples(st.sampled_from(["promote v1", "promote v2", "rollback"]), st.integers(1, 16)),
        min_size=1,
        max_size=4,
    )
)
def test_200_kill_points_leave_the_old_or_the_new_champion(
    workspaces: tuple[Path, list[Path]], plan: list[tuple[str, int]]
) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        models = Path(scratch, "models")
        shutil.copytree(workspaces[0], models, symlinks=True)
        for action, moment in plan:
            before = store.champion_name(models)
            history = store.champions_until_now(models)
            if action == "rollback":
                wanted = history[-2] if len(history) > 1 else None
                work = lambda: store.rollback(models, "killed")  # noqa: E731
            else:
                wanted = action.split()[1]
                work = lambda name=wanted: store.promote(models, name, "killed")  # noqa: E731
            if wanted is None:
                continue
            killed = in_a_process_killed_at(moment, work)
            after = store.champion_name(models)
            assert after in ((before, wanted) if killed else (wanted,))
            assert store.verify(models, str(after)).name == after
        # whatever happened, the next change works, and the log agrees with the link
        store.promote(models, "v2", "afterwards")
        assert store.champion_name(models) == "v2"
        assert store.champions_until_now(models)[-1] == "v2"


@pytest.mark.parametrize("moment", range(1, 60, 3))
def test_a_killed_registration_leaves_a_whole_version_or_none(
    workspaces: tuple[Path, list[Path]], tmp_path: Path, moment: int
) -> None:
    models, made = tmp_path / "models", workspaces[1][2]
    shutil.copytree(workspaces[0], models, symlinks=True)
    sources = store.Sources(
        made / "model.onnx", made / "index", made / "metrics.json", made / "params.yaml", made / "dvc.lock"
    )
    in_a_process_killed_at(moment, lambda: store.register(models, sources))
    assert store.champion_name(models) == "v1"
    for name in store.version_names(models):
        store.verify(models, name)
    added = store.register(models, sources)
    assert added.name in ("v3", "v4")
    assert not list((models / "versions").glob(".*.tmp"))
    logged = [e["version"] for e in store.events(models) if e["event"] == "register"]
    assert logged == store.version_names(models)
