import csv
import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from tests.fixtures.fakes import fake_rounds, write_prepared, write_trained
from tests.fixtures.models import pictures, tiny_card, write_model
from udml import paths
from udml.config import load_params
from udml.data.catalog import SUMMARY_FILE
from udml.errors import UdmlError
from udml.evaluation.evaluate import evaluate, read_test_set
from udml.files import write_json
from udml.report.report import report_workspace
from udml.search import chunks as chunks_module
from udml.search.embedder import Embedder
from udml.search.index import index

PARAMS = load_params(Path(__file__).parents[2] / "params.yaml")
TRAIN, TEST, CLASSES = 24, 36, 6


def run_stage() -> None:
    """What the command `udml evaluate` does."""
    params = load_params()
    report_workspace(evaluate(params), params)


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """Everything that stands before evaluate; the trained model sees colour, the frozen one is noise."""
    monkeypatch.chdir(tmp_path)

    def make(labelled=True, whitened=True):
        images = pictures(TRAIN + TEST, classes=CLASSES)
        labels = [f"class {row % CLASSES}" if labelled else None for row in range(TRAIN + TEST)]
        splits = ["train"] * TRAIN + ["test"] * TEST
        write_prepared(paths.PREPARED, images, labels, splits)
        write_json(paths.PREPARED / SUMMARY_FILE, {"data_version": "a" * 16})
        write_trained(
            paths.TRAINED, np.arange(TRAIN) % 3, np.linspace(0.5, 1, TRAIN), fake_rounds(3, labelled)
        )
        write_model(paths.MODEL, tiny_card())
        write_json(paths.EXPORTED / "parity.json", {"quantization": {"verdict": "float32 ships"}})
        write_model(paths.EXPORTED / "frozen.onnx", tiny_card("frozen", model_version="b" * 16), seed=5)
        if whitened:
            card = tiny_card("whitened", model_version="c" * 16)
            write_model(paths.EXPORTED / "whitened.onnx", card, seed=6)
        params = asdict(replace(PARAMS, evaluate=replace(PARAMS.evaluate, bootstrap_samples=50)))
        params["evaluate"]["recall_at"] = list(params["evaluate"]["recall_at"])
        Path("params.yaml").write_text(yaml.safe_dump(params))
        index(paths.EXPORTED, paths.PREPARED, paths.INDEXED, PARAMS.index)
        return images

    return make


def leaves(value):
    return [leaf for one in value.values() for leaf in leaves(one)] if isinstance(value, dict) else [value]


def test_writes_metrics_plots_and_report_and_says_where(workspace, capsys):
    workspace()
    run_stage()
    printed = capsys.readouterr().out
    metrics = json.loads(paths.METRICS.read_text())
    recall = metrics["trained"]["leave_one_out"]["recall_at_1"]
    assert f"{100 * recall:.1f}" in printed
    assert metrics["ratio"]["map_at_r"] == pytest.approx(
        metrics["trained"]["leave_one_out"]["map_at_r"] / metrics["whitened"]["leave_one_out"]["map_at_r"]
    )
    difference = metrics["difference"]["leave_one_out"]
    assert difference["map_at_r_low"] <= difference["map_at_r"]
    words = json.loads(paths.PROTOCOLS.read_text())
    assert "leave-one-out over 36 test images" in words["trained"]["leave_one_out"]
    assert {kind: list(found) for kind, found in words.items()} == {
        kind: list(found) for kind, found in metrics.items() if kind not in ("difference", "ratio")
    }
    assert all(isinstance(value, float | int) for value in leaves(metrics))
    assert str(paths.REPORT / "index.html") in printed
    assert (paths.REPORT / "index.html").exists()
    command = printed.strip().splitlines()[-1].split("udml search ")[1]
    assert Image.open(command).size[0] > 0
    for line in ("frozen backbone", "Recall@1", "MAP@R", "NMI", "Effective rank"):
        assert line in printed


def test_the_plots_hold_the_numbers_of_the_metrics(workspace):
    workspace()
    run_stage()
    metrics = json.loads(paths.METRICS.read_text())
    recalls = pd.read_csv(paths.PLOTS / "recall_at_k.csv")
    assert recalls["k"].tolist() == list(PARAMS.evaluate.recall_at)
    for kind in ("frozen", "whitened", "trained"):
        expected = [metrics[kind]["leave_one_out"][f"recall_at_{k}"] for k in recalls["k"]]
        assert recalls[kind].tolist() == pytest.approx(expected)
    scores = pd.read_csv(paths.PLOTS / "scores.csv")
    assert scores["words"].notna().all()
    for row in scores.itertuples():
        assert metrics[row.model][row.protocol][row.metric] == pytest.approx(row.value)
    shares = scores[scores["metric"].str.startswith("recall")]
    assert ((shares["low"] <= shares["value"]) & (shares["value"] <= shares["high"])).all()


def test_without_labels_there_are_numbers_and_a_report_all_the_same(workspace, capsys):
    workspace(labelled=False)
    run_stage()
    metrics = json.loads(paths.METRICS.read_text())
    assert list(metrics["trained"]) == ["label_free"]
    assert set(metrics["ratio"]) <= {
        "neighbours_found_again",
        "found_again_at_1",
        "found_again_mrr",
    }
    assert "Found again" in capsys.readouterr().out
    with (paths.PLOTS / "recall_at_k.csv").open() as file:
        assert list(csv.reader(file)) == [["k", "frozen", "whitened", "trained"]]


def test_a_model_from_before_there_was_a_whitened_one_is_set_beside_the_frozen(workspace):
    workspace(whitened=False)
    run_stage()
    metrics = json.loads(paths.METRICS.read_text())
    assert "whitened" not in metrics
    assert metrics["ratio"]["map_at_r"] == pytest.approx(
        metrics["trained"]["leave_one_out"]["map_at_r"] / metrics["frozen"]["leave_one_out"]["map_at_r"]
    )


def test_what_is_scored_comes_out_of_the_shipped_index(workspace):
    workspace()
    shutil.rmtree(paths.INDEXED)
    with pytest.raises(UdmlError, match="no index at"):
        run_stage()
    write_model(paths.MODEL, tiny_card(model_version="c" * 16))
    index(paths.EXPORTED, paths.PREPARED, paths.INDEXED, PARAMS.index)
    write_model(paths.MODEL, tiny_card())
    with pytest.raises(UdmlError, match="was made by model c"):
        run_stage()


def test_an_index_of_other_data_is_refused(workspace):
    workspace()
    write_json(paths.PREPARED / SUMMARY_FILE, {"data_version": "e" * 16})
    with pytest.raises(UdmlError, match="the index is of data a"):
        run_stage()


def test_a_killed_run_gives_the_same_numbers(workspace, monkeypatch):
    workspace()
    monkeypatch.setattr(chunks_module, "CHUNK_ROWS", 10)
    embed, calls, deadly = Embedder.embed, [], []

    def counted(self, images):
        calls.append(len(images))
        if len(calls) in deadly:
            raise KeyboardInterrupt
        return embed(self, images)

    monkeypatch.setattr(Embedder, "embed", counted)
    run_stage()
    whole, once = paths.METRICS.read_bytes(), len(calls)
    deadly.append(once + 3)
    with pytest.raises(KeyboardInterrupt):
        run_stage()
    run_stage()
    assert len(calls) == 2 * once + 1  # what died is done again, and nothing else
    assert paths.METRICS.read_bytes() == whole


def test_codes_of_labels_follow_the_alphabet():
    catalog = pd.DataFrame(
        {
            "split": ["test", "train", "test", "test"],
            "label": ["b", "z", None, "a"],
            "group": [1, 2, 3, 4],
            "role": ["both"] * 4,
        }
    )
    test = read_test_set(catalog, "v")
    assert test.rows.tolist() == [0, 2, 3]
    assert test.labels.tolist() == [1, -1, 0]
    assert test.class_names == ("a", "b")
