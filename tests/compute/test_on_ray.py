"""The Ray engine on a cluster of three nodes on this machine: the same files, whoever is lost on the way."""

import os
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.compute.cluster import small_cluster
from tests.conftest import ROOT
from tests.data.test_prepare import PARAMS, contents, photo, write_data
from tests.fixtures.fakes import write_prepared
from tests.fixtures.models import pictures, tiny_card, write_model
from udml import paths
from udml.compute import looking
from udml.compute.on_ray import run_on_ray
from udml.config import Compute, Index, load_params
from udml.data.catalog import SUMMARY_FILE
from udml.data.prepare import prepare
from udml.errors import UdmlError
from udml.evaluation.evaluate import evaluate
from udml.files import read_json, write_json
from udml.search.gallery import INFO_FILE
from udml.search.index import index

pytestmark = pytest.mark.slow
pytest.importorskip("ray")
INDEX = Index(
    exact_below=1,
    hnsw_below=1,
    min_recall_at_10=0.9,
    recall_queries=20,
    no_match_error=0.05,
    mix_neighbours=True,
    reference_images=25,
)


@pytest.fixture(scope="session")
def cluster() -> Any:
    with small_cluster(3) as made:
        yield made


@pytest.fixture
def run(cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(looking, "_LOOK_SECONDS", 1800)  # a busy machine takes its time
    return lambda work, items: run_on_ray(cluster.address, work, items)


def files(count: int) -> dict[str, bytes | None]:
    made: dict[str, bytes | None] = {f"{n:03d}.jpg": photo(n, 400, 300, "JPEG") for n in range(count)}
    return made | {"x.jpg": b"broken"}


def test_prepare_makes_the_same_files(run: Any, tmp_path: Path) -> None:
    data = write_data(tmp_path, files(40), per_shard=5)
    prepare(data, tmp_path / "local", PARAMS)
    prepare(data, tmp_path / "ray", PARAMS, run)
    assert contents(tmp_path / "local") == contents(tmp_path / "ray")


def test_index_and_evaluate_make_the_same_files(run: Any, cluster: Any, tmp_path: Path) -> None:
    """Several chunks and stretches of the graph, strong views, and two models that are compared."""
    images = pictures(5000, classes=40)
    labels = [f"class {row % 40}" for row in range(len(images))]
    splits = ["train"] * 3900 + ["test"] * 1100
    prepared = write_prepared(paths.PREPARED, images, labels, splits)
    write_json(prepared / SUMMARY_FILE, {"data_version": "a" * 16})
    write_model(paths.MODEL, tiny_card())
    write_model(paths.EXPORTED / "frozen.onnx", tiny_card("frozen", model_version="b" * 16), seed=5)
    index(paths.EXPORTED, prepared, paths.INDEXED, INDEX)
    index(paths.EXPORTED, prepared, tmp_path / "ray", INDEX, run)
    assert contents(paths.INDEXED) == contents(tmp_path / "ray")
    assert read_json(tmp_path / "ray" / INFO_FILE)["kind"] == "ivf"

    here = load_params(ROOT / "params.yaml")
    here = replace(here, evaluate=replace(here.evaluate, bootstrap_samples=50))
    figures = []
    for params in (here, replace(here, compute=Compute("ray", cluster.address))):
        found = evaluate(params)
        arrays = [getattr(found.frozen, name).tobytes() for name in ("embeddings", "found_again")]
        told = paths.METRICS.read_bytes(), paths.PROTOCOLS.read_bytes(), contents(paths.PLOTS)
        figures.append((*told, *arrays))
    assert figures[0] == figures[1]
    assert len(read_json(paths.METRICS)["trained"]) > 2


def test_a_node_killed_in_mid_run_costs_time_and_nothing_else(run: Any, cluster: Any, tmp_path: Path) -> None:
    data = write_data(tmp_path, files(200), per_shard=5)
    prepare(data, tmp_path / "local", PARAMS)
    stop = threading.Event()

    def kill_one() -> None:
        while not stop.is_set():
            if list(tmp_path.glob(".scratch/prepare-*/rows/*.parquet")):
                cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
                return
            time.sleep(0.01)

    killer = threading.Thread(target=kill_one)
    killer.start()
    try:
        prepare(data, tmp_path / "ray", PARAMS, run)
    finally:
        stop.set()
        killer.join()
    assert contents(tmp_path / "local") == contents(tmp_path / "ray")


def test_a_driver_killed_goes_on_where_it_was(run: Any, cluster: Any, tmp_path: Path, capsys: Any) -> None:
    data = write_data(tmp_path, files(200), per_shard=5)
    script = tmp_path / "run.py"
    script.write_text(
        "from functools import partial\nfrom pathlib import Path\nfrom udml.config import Prepare\n"
        "from udml.compute.on_ray import run_on_ray\nfrom udml.data.prepare import prepare\n"
        f"prepare(Path({str(data)!r}), Path('ray'), {PARAMS!r}, partial(run_on_ray, {cluster.address!r}))\n"
    )
    said = tmp_path / "said"
    with said.open("w") as opened:
        child = subprocess.Popen([sys.executable, str(script)], cwd=tmp_path, stderr=opened)
    while not list(tmp_path.glob(".scratch/prepare-*/rows/*.parquet")):
        assert child.poll() is None, said.read_text()
        time.sleep(0.01)
    child.kill()
    child.wait()
    assert not (tmp_path / "ray").exists()
    prepare(data, tmp_path / "ray", PARAMS, run)
    assert "going on at image " in capsys.readouterr().out
    prepare(data, tmp_path / "local", PARAMS)
    assert contents(tmp_path / "local") == contents(tmp_path / "ray")


def test_a_shard_that_cannot_be_read_is_one_sentence_with_the_node(run: Any, tmp_path: Path) -> None:
    data = write_data(tmp_path, files(20), per_shard=5)
    shard = data / "shards" / "000001.tar"
    shard.write_bytes(shard.read_bytes()[:2000])
    with pytest.raises(UdmlError, match=r"000001\.tar is shorter .*\(on node "):
        prepare(data, tmp_path / "ray", PARAMS, run)


def test_nodes_without_the_folder_are_named_before_any_work(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path that is another place in each process: that of an open folder."""
    data = write_data(tmp_path, files(5), per_shard=5)
    own = os.open(tmp_path, os.O_RDONLY)
    seen = Path(f"/proc/self/fd/{own}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Path, "cwd", classmethod(lambda cls: seen))
    with pytest.raises(UdmlError, match=r"node .* does not share /proc/self/fd/"):
        prepare(data, tmp_path / "ray", PARAMS, lambda work, items: run_on_ray(cluster.address, work, items))
    assert not list(tmp_path.glob(".scratch/prepare-*/rows/*"))
    os.close(own)
    shutil.rmtree(tmp_path / ".scratch")
