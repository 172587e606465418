"""The seam: which engine is taken, what the local one does, and that nothing but `ray` itself needs Ray."""

import ast
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.conftest import ROOT
from tests.fixtures.fakes import write_prepared
from tests.fixtures.models import pictures
from udml.compute import joining, local
from udml.compute.engine import engine_of
from udml.compute.local import run_here
from udml.compute.node import Worker, sendable
from udml.compute.work import Count, Place, Work
from udml.config import Compute, parse_params
from udml.data.catalog import open_store
from udml.errors import UdmlError


@dataclass(frozen=True)
class Number:
    file: Path
    value: int


def squares(whole_node: bool = False) -> Work[int, Number]:
    return Work("squares", _open, _square, _is_there, _one, whole_node)


def _open(place: Place) -> int:
    return place.cores


def _square(tool: int, item: Number, count: Count) -> None:
    if item.value < 0:
        raise UdmlError(f"{item.value} is below 0", "name another")
    item.file.write_text(str(item.value**2))
    count(1)


def _is_there(item: Number) -> bool:
    return item.file.exists()


def _one(_: Number) -> int:
    return 1


@pytest.mark.parametrize("cores", [1, 2])
@pytest.mark.parametrize("whole_node", [False, True])
def test_every_item_is_done_once(tmp_path, monkeypatch, capsys, cores, whole_node) -> None:
    monkeypatch.setattr(local, "usable_cores", lambda: cores)
    items = [Number(tmp_path / str(value), value) for value in range(7)]
    items[3].file.write_text("done before")
    run_here(squares(whole_node), items)
    assert capsys.readouterr().out == "going on at image 1 of 7\n"
    assert [item.file.read_text() for item in items] == ["0", "1", "4", "done before", "16", "25", "36"]


@pytest.mark.parametrize("cores", [1, 2])
def test_an_error_ends_the_work_and_keeps_what_is_done(tmp_path, monkeypatch, cores) -> None:
    monkeypatch.setattr(local, "usable_cores", lambda: cores)
    items = [Number(tmp_path / str(place), value) for place, value in enumerate([1, -5, 3])]
    with pytest.raises(UdmlError, match="-5 is below 0") as caught:
        run_here(squares(), items)
    assert caught.value.hint == "name another"
    assert not items[1].file.exists()


class TwoPartsError(Exception):
    """Such a one is sent, and cannot be put together again."""

    def __init__(self, one: str, other: object) -> None:
        super().__init__(f"{one} and {other}")


def _square_or_say(tool: int, item: Number, count: Count) -> None:
    raise TwoPartsError("this", "that")


def test_an_error_that_cannot_be_sent_is_told(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(local, "usable_cores", lambda: 2)
    items = [Number(tmp_path / str(value), value) for value in (1, 2)]
    with pytest.raises(RuntimeError, match="TwoPartsError: this and that") as caught:
        run_here(replace(squares(), do=_square_or_say), items)
    assert "_square_or_say" in "".join(caught.value.__notes__)


def _square_or_end(tool: int, item: Number, count: Count) -> None:
    if item.value < 0:
        os.kill(os.getpid(), signal.SIGKILL if item.value == -1 else signal.SIGTERM)
    _square(tool, item, count)


@pytest.mark.parametrize("value", [-1, -2])
def test_a_process_that_is_killed_is_told_of_and_the_others_finish_what_they_have(
    tmp_path, monkeypatch, value
) -> None:
    monkeypatch.setattr(local, "usable_cores", lambda: 2)
    items = [Number(tmp_path / str(place), one) for place, one in enumerate([2, value, 3, 4])]
    work = replace(squares(), do=_square_or_end, relief="buy some")
    with pytest.raises(UdmlError, match="a process of squares was killed") as caught:
        run_here(work, items)
    assert caught.value.hint == "buy some; finished work is kept"
    assert not items[1].file.exists()
    assert items[0].file.read_text() == "4"
    run_here(squares(), [items[0], *items[2:]])
    assert [items[place].file.read_text() for place in (0, 2, 3)] == ["4", "9", "16"]


def test_images_are_counted_now_and_then_and_none_is_forgotten() -> None:
    here, there = multiprocessing.Pipe(duplex=False)
    with local._counting(there) as count:
        for _ in range(10_000):
            count(2)
    there.close()
    told = []
    with suppress(EOFError):
        while True:
            told.append(here.recv())
    assert sum(told) == 20_000
    assert len(told) < 1_000


def test_a_worker_of_a_node_gives_errors_back_and_makes_nothing_twice(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(ROOT)
    worker = Worker(str(tmp_path), Place(1))
    assert worker.open(pickle.loads(pickle.dumps(sendable(squares())))) is None
    assert Path.cwd() == tmp_path
    there = Number(tmp_path / "there", 2)
    there.file.write_text("made by another")
    assert worker.do(there) is None
    assert there.file.read_text() == "made by another"
    failed = worker.do(Number(tmp_path / "no", -1))
    assert isinstance(failed, UdmlError)
    assert failed.what.startswith("-1 is below 0 (on node ")
    assert isinstance(Worker(str(tmp_path / "absent"), Place(1)).open(squares()), FileNotFoundError)


def test_a_part_of_the_store_is_small_when_sent_and_shows_the_same_pixels(tmp_path) -> None:
    images = pictures(40)
    store = open_store(write_prepared(tmp_path, images, [None] * 40, ["train"] * 40))
    sent = pickle.dumps(store.part(np.array([7, 3, 39])))
    assert len(sent) < 2000
    part = pickle.loads(sent)
    assert len(part) == 3
    for row, source in enumerate([7, 3, 39]):
        np.testing.assert_array_equal(part[row], images[source])


def test_the_engine_is_chosen_by_the_settings_and_no_stage_depends_on_them(monkeypatch) -> None:
    assert engine_of(Compute()) is run_here
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    assert values["compute"] == {"engine": "local", "address": "auto"}
    del values["compute"]  # a file from before there was a choice
    assert parse_params(values).compute == Compute()
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    assert not [name for name, stage in stages.items() if any("compute" in key for key in stage["params"])]
    monkeypatch.setattr(joining, "find_spec", lambda name: None)
    with pytest.raises(UdmlError, match="the package ray is not installed") as caught:
        engine_of(Compute("ray"))
    assert "[ray]" in caught.value.hint


@pytest.mark.parametrize("address", ["", "head", "ray://head:10001", "head:port", ":6379"])
def test_addresses_that_are_none(address: str) -> None:
    with pytest.raises(UdmlError, match=r"compute\.address"):
        Compute("ray", address)
    with pytest.raises(UdmlError, match="did you mean ray"):
        Compute("rays")


def test_a_folder_called_ray_is_not_taken_for_the_package(tmp_path, monkeypatch) -> None:
    (tmp_path / "ray").mkdir()
    monkeypatch.delitem(sys.modules, "ray", raising=False)
    elsewhere = [path for path in sys.path if not path.endswith("-packages")]
    monkeypatch.setattr(sys, "path", [str(tmp_path), *elsewhere])
    assert joining.find_spec("ray") is not None
    with pytest.raises(UdmlError, match="the package ray is not installed"):
        joining.require_ray()


def test_where_no_cluster_listens_is_one_sentence() -> None:
    with pytest.raises(UdmlError, match=r"there is no Ray cluster at 127\.0\.0\.1:9") as caught:
        joining._require_listening("127.0.0.1:9")
    assert "compute.engine to local" in caught.value.hint


def test_of_several_clusters_on_a_machine_one_has_to_be_named(monkeypatch) -> None:
    """Ray looks at the command lines of all processes: these have those of two clusters' nodes."""
    services = pytest.importorskip("ray._private.services")
    services.find_gcs_addresses.cache_clear()
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    addresses = ["127.0.0.8:9", "127.0.0.9:9"]
    nodes = [
        subprocess.Popen(
            ["raylet", "-c", "import sys; print(flush=True); sys.stdin.read()", f"--gcs-address={address}"],
            executable=sys.executable, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )
        for address in addresses
    ]  # fmt: skip
    for node in nodes:
        node.stdout.readline()
    try:
        with pytest.raises(
            UdmlError, match=r"of \d+ Ray clusters: .*127\.0\.0\.8:9, 127\.0\.0\.9:9"
        ) as caught:
            joining._require_one("auto")
        assert "compute.address" in caught.value.hint
        monkeypatch.setenv("RAY_ADDRESS", addresses[0])  # a choice, too
        joining._require_one("auto")
    finally:
        for node in nodes:
            node.communicate()
        services.find_gcs_addresses.cache_clear()


def test_another_version_is_named() -> None:
    pytest.importorskip("ray")
    said = (
        "Version mismatch: The cluster was started with:\n    Ray: 2.9.0\n    Python: 3.9.1\n"
        "This process on node 127.0.0.1 was started with:\n    Ray: 2.60.0\n    Python: 3.11.7\n"
    )
    wrapped = ConnectionError("Failed to connect to Ray cluster at head:6379")
    wrapped.__cause__ = RuntimeError(said)
    found = joining._in_words("head:6379", wrapped)
    assert found.what.startswith("the cluster at head:6379 runs Ray 2.9.0 and Python 3.9.1, this is Ray ")


def imports_of_ray(tree: ast.AST) -> list[int]:
    """Lines that import Ray."""
    names = {
        node.lineno: [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    return [line for line, found in names.items() if any(str(name).split(".")[0] == "ray" for name in found)]


def test_only_joining_a_cluster_imports_ray_and_only_when_it_does() -> None:
    files = [*(ROOT / "src" / "udml").rglob("*.py"), *(ROOT / "flows").rglob("*.py")]
    importing = [path for path in files if imports_of_ray(ast.parse(path.read_text()))]
    assert [path.name for path in importing] == ["joining.py"]
    body = ast.parse(importing[0].read_text()).body
    assert not imports_of_ray(
        ast.Module([node for node in body if not isinstance(node, ast.FunctionDef)], [])
    )


@pytest.mark.parametrize(("command", "status"), [(["--help"], 0), (["prepare"], 1)])
def test_commands_run_where_ray_cannot_be_imported(tmp_path, command, status) -> None:
    code = f"import sys\nsys.modules['ray'] = None\nfrom udml.cli import main\nsys.exit(main({command!r}))"
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == status
    assert "Traceback" not in done.stderr
    assert ("udml data import" in done.stderr) == (status == 1)
