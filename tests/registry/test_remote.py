"""Versions on a remote that is a directory; `tests/test_pipeline.py` does the same on S3."""

import json
import shutil
from pathlib import Path

import pytest

from tests.registry.workspace import make_sources
from udml.errors import UdmlError
from udml.registry import store
from udml.registry.remote import Remote, open_remote, pull, push, remote_names


@pytest.fixture(scope="module")
def workspaces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with two versions, and an empty one, in workspaces with the same DVC remote."""
    from dvc.repo import Repo

    root = tmp_path_factory.mktemp("remote")
    for name in ("here", "there"):
        (root / name).mkdir()
        Repo.init(str(root / name), no_scm=True).close()
        (root / name / ".dvc" / "config").write_text(
            "[core]\n    no_scm = true\n    remote = storage\n"
            "['remote \"storage\"']\n    url = ../../storage\n"
        )
    for seed in range(2):
        store.register(root / "here" / "models", make_sources(tmp_path_factory.mktemp("workspace"), seed))
    return root


@pytest.fixture
def root(workspaces: Path, tmp_path: Path) -> Path:
    return shutil.copytree(workspaces, tmp_path / "root", symlinks=True)


@pytest.fixture
def remote(root: Path) -> Remote:
    return open_remote(root / "here")


def blobs(root: Path) -> set[str]:
    return {path.name for path in (root / "storage" / "udml-models" / "files").iterdir()}


def test_what_is_pushed_here_is_pulled_there_and_serves(root: Path, remote: Remote) -> None:
    here, there = root / "here" / "models", root / "there" / "models"
    assert push(here, remote, []) == ["v1", "v2"]
    assert pull(there, open_remote(root / "there"), []) == ["v1", "v2"]
    for name in ("v1", "v2"):
        assert store.verify(there, name) == store.verify(here, name)
    store.promote(there, "v2", "")
    assert store.champion_name(there) == "v2"
    told = [(e["event"], e["version"], e["reason"]) for e in store.events(there)]
    assert told[:2] == [("register", "v1", "pulled"), ("register", "v2", "pulled")]
    assert push(here, remote, []) == pull(there, remote, []) == []
    assert not list(there.rglob("*.tmp"))
    assert not (there / ".pulled").exists()


def test_some_can_be_named_and_files_alike_are_stored_once(root: Path, remote: Remote) -> None:
    here = root / "here" / "models"
    assert push(here, remote, ["v2"]) == ["v2"]
    assert remote_names(remote) == ["v2"]
    push(here, remote, [])
    different = {file.sha256 for name in ("v1", "v2") for file in store.verify(here, name).files.values()}
    assert blobs(root) == different
    assert len(different) < 14  # two versions of seven files
    with pytest.raises(UdmlError, match="no version v9"):
        pull(root / "there" / "models", remote, ["v9"])


class Failing:
    """The remote's file system, which fails at its n-th change."""

    def __init__(self, fs, moment: int) -> None:
        self._fs, self._left = fs, moment

    def __getattr__(self, name: str):
        found = getattr(self._fs, name)
        if name not in ("put_file", "move", "get_file"):
            return found

        def act(*arguments):
            self._left -= 1
            if self._left == 0:
                if name != "move":  # a part has arrived
                    target = Path(arguments[1])
                    target.write_bytes(Path(arguments[0]).read_bytes()[:10])
                raise ConnectionError("cable pulled")
            return found(*arguments)

        return act


@pytest.mark.parametrize("moment", range(1, 10))
def test_a_push_that_breaks_off_shows_no_version_and_the_next_one_ends_it(
    root: Path, remote: Remote, moment: int
) -> None:
    """Seven files, the manifest, its move: the ninth change publishes."""
    here, there = root / "here" / "models", root / "there" / "models"
    broken = Remote(remote.url, Failing(remote.fs, moment), remote.root)
    with pytest.raises(UdmlError, match="cable pulled"):
        push(here, broken, ["v1"])
    assert remote_names(remote) == []
    assert pull(there, remote, []) == []
    assert push(here, remote, ["v1"]) == ["v1"]
    assert pull(there, remote, []) == ["v1"]
    store.verify(there, "v1")


@pytest.mark.parametrize("moment", [1, 4, 7])
def test_a_pull_that_breaks_off_leaves_no_version(root: Path, remote: Remote, moment: int) -> None:
    there = root / "there" / "models"
    push(root / "here" / "models", remote, [])
    broken = Remote(remote.url, Failing(remote.fs, moment), remote.root)
    with pytest.raises(UdmlError, match="cable pulled"):
        pull(there, broken, ["v1"])
    assert store.version_names(there) == []
    assert pull(there, remote, []) == ["v1", "v2"]


def test_a_file_changed_on_the_remote_is_refused_by_name(root: Path, remote: Remote) -> None:
    here, there = root / "here" / "models", root / "there" / "models"
    push(here, remote, [])
    sha256 = store.verify(here, "v1").files["model.onnx"].sha256
    (root / "storage" / "udml-models" / "files" / sha256).write_bytes(b"evil")
    with pytest.raises(UdmlError, match=r"v1 .*model\.onnx was changed"):
        pull(there, remote, ["v1"])
    assert store.version_names(there) == []
    assert pull(there, remote, ["v2"]) == ["v2"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "v1 on the remote is damaged"),
        (b'{"files": 3}', "v1 on the remote is damaged"),
        (json.dumps({"files": {"../../x": {"sha256": "0", "size_bytes": 1}}}).encode(), "outside itself"),
        (json.dumps({"files": {"/etc/x": {"sha256": "0", "size_bytes": 1}}}).encode(), "outside itself"),
    ],
)
def test_a_forged_manifest_is_refused(root: Path, remote: Remote, content: bytes, message: str) -> None:
    push(root / "here" / "models", remote, ["v1"])
    (root / "storage" / "udml-models" / "versions" / "v1.json").write_bytes(content)
    with pytest.raises(UdmlError, match=message):
        pull(root / "there" / "models", remote, [])
    assert store.version_names(root / "there" / "models") == []


def test_two_versions_of_one_name_are_not_mixed_up(root: Path, remote: Remote, tmp_path: Path) -> None:
    here, there = root / "here" / "models", root / "there" / "models"
    store.register(there, make_sources(tmp_path, seed=7))
    push(here, remote, [])
    for act in (push, pull):
        with pytest.raises(UdmlError, match="two different versions"):
            act(there, remote, ["v1"])
    assert pull(there, remote, ["v2"]) == ["v2"]


def test_a_workspace_without_a_remote_says_how_to_add_one(root: Path, tmp_path: Path) -> None:
    (root / "here" / ".dvc" / "config").write_text("[core]\n    no_scm = true\n")
    with pytest.raises(UdmlError, match="dvc remote add"):
        open_remote(root / "here")
    with pytest.raises(UdmlError, match="cannot be opened"):
        open_remote(tmp_path)
