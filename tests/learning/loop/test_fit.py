import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.learning.tiny import (
    KilledError,
    assert_identical,
    killed_at,
    tiny_data,
    tiny_fit,
    tiny_network,
    tiny_params,
    weights,
    without_timing,
)
from udml.errors import UdmlError
from udml.evaluation.labelfree import augmentation_retrieval, neighbours_found_again
from udml.learning.loop import fit as fit_module
from udml.learning.loop import steps as steps_module
from udml.learning.loop.checkpoint import BEST_FILE, SHIPPED_FILE, WHITENED_FILE
from udml.learning.loop.run import Run, TrainingSet
from udml.learning.model.network import StepForward
from udml.learning.views.device import upload


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    scratch = tmp_path_factory.mktemp("uninterrupted")
    return scratch, tiny_fit(scratch, tiny_params())


def test_every_round_logs_what_a_person_needs(uninterrupted: tuple[Path, list[dict[str, Any]]]) -> None:
    rounds = uninterrupted[1]
    assert [r["step"] for r in rounds] == [0, 2, 4, 6]
    assert rounds[0]["churn"] is None
    assert all(0 <= r["churn"] <= 1 for r in rounds[1:])
    for r in rounds:
        assert sum(r["cluster_sizes_histogram"]["counts"]) == r["clusters"] == 6
        assert 0 <= r["label_nmi"] <= 1
        assert 1 <= r["effective_rank"] <= 16
        assert r["empty"] + r["singletons"] <= 6
    assert all(
        np.isfinite([r["metric_loss"], r["rotation_loss"], r["images_per_second"]]).all() for r in rounds[1:]
    )
    assert sum(r["picked"] for r in rounds) == 1


def test_the_latest_round_near_the_best_label_free_score_is_picked(
    uninterrupted: tuple[Path, list[dict[str, Any]]],
) -> None:
    rounds = uninterrupted[1]
    picked = next(r for r in rounds if r["picked"])
    best = max(rounds, key=lambda r: r["score_neighbours"])
    near = [
        r
        for r in rounds
        if r["score_neighbours"] >= best["score_neighbours"] - best["score_neighbours_error"]
    ]
    assert picked == near[-1]


def test_a_few_odd_pictures_do_not_end_a_training(tmp_path: Path) -> None:
    """A picture like no other is a cluster of its own, which leaves fewer than a batch has room for."""
    data = tiny_data(images=33)
    odd = [np.zeros((40, 40, 3)), np.full((40, 40, 3), 255), np.arange(4800).reshape(40, 40, 3) % 2 * 255]
    images = [*data.images[:30], *(picture.astype(np.uint8) for picture in odd)]
    data = dataclasses.replace(data, images=images, views=np.stack([image[4:36, 4:36] for image in images]))
    params = tiny_params(labels="graph", clusters=9, clusters_per_batch=9, rotation_images=2)
    rounds = tiny_fit(tmp_path, params, data)
    assert rounds[0]["singletons"] > 0
    assert rounds[0]["share_left_out"] > 0
    assert rounds[-1]["step"] == params.steps


def test_what_is_judged_is_what_ships(tmp_path: Path) -> None:
    """The head is finished before it is judged: a trained head that is not yet looks worse than it is."""
    data, params = tiny_data(), tiny_params()
    picked = next(r for r in tiny_fit(tmp_path, params, data) if r["picked"])
    network, (mean, std) = tiny_network(params)
    shipped = load_file(tmp_path / SHIPPED_FILE)
    network.load_state_dict({name.removeprefix("network/"): v for name, v in shipped.items() if "/" in name})

    @torch.inference_mode()
    def embedded(views: np.ndarray) -> np.ndarray:
        pixels = torch.from_numpy(np.ascontiguousarray(views)).permute(0, 3, 1, 2).float()
        return network((pixels - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)).numpy()

    held, strong = embedded(data.held_views), embedded(data.held_strong_views)
    gallery = np.concatenate([held, embedded(data.views)])
    found = augmentation_retrieval(strong, gallery, np.arange(len(held)))
    assert picked["step"] > 0
    assert picked["score_mrr"] == pytest.approx(found["mrr"], abs=0.05)
    kept = neighbours_found_again(strong, gallery, np.arange(len(held))).mean()
    assert picked["score_neighbours"] == pytest.approx(kept, abs=0.02)


def test_an_untrained_start_ships_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is whitened already; to finish it as a trained head would whiten it twice."""
    monkeypatch.setattr(fit_module.selection, "picks_latest", lambda scores: len(scores) == 1)
    rounds = tiny_fit(tmp_path, tiny_params())
    assert [r["picked"] for r in rounds] == [True, False, False, False]
    shipped, whitened = load_file(tmp_path / SHIPPED_FILE), load_file(tmp_path / WHITENED_FILE)
    weight = shipped["network/embedding_head.weight"]
    scale = weight.norm() / whitened["weight"].norm()
    assert torch.allclose(weight, whitened["weight"] * scale, atol=1e-6)


@pytest.mark.parametrize("kill_at", [1, 2, 3, 5])
def test_a_killed_run_resumes_to_the_same_bits(
    kill_at: int,
    uninterrupted: tuple[Path, list[dict[str, Any]]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with killed_at(kill_at):
        tiny_fit(tmp_path, tiny_params())
    assert "going on" not in capsys.readouterr().out
    rounds = tiny_fit(tmp_path, tiny_params())
    kept = kill_at // 2 * 2  # two steps a round
    assert capsys.readouterr().out.count(f"going on at step {kept} of 6\n") == (kept > 0)
    expected_scratch, expected_rounds = uninterrupted
    assert_identical(weights(tmp_path), weights(expected_scratch))
    assert_identical(weights(tmp_path, BEST_FILE), weights(expected_scratch, BEST_FILE))
    assert without_timing(rounds) == without_timing(expected_rounds)


def test_a_resumed_optimiser_goes_through_memory_as_before(tmp_path: Path) -> None:
    """With a dense convolution trained, whose weights are channels last and a file's are not."""
    params = tiny_params(frozen_blocks=0, steps=4)

    def killed(record: dict[str, Any]) -> None:
        if record["step"] == 2:
            raise KilledError

    with pytest.raises(KilledError):
        tiny_fit(tmp_path / "killed", params, on_round=killed)
    tiny_fit(tmp_path / "killed", params)
    tiny_fit(tmp_path / "whole", params)
    assert_identical(weights(tmp_path / "killed"), weights(tmp_path / "whole"))


def test_labels_do_not_touch_the_weights(
    uninterrupted: tuple[Path, list[dict[str, Any]]], tmp_path: Path
) -> None:
    rounds = tiny_fit(tmp_path, tiny_params(), tiny_data(monitor_labels=False))
    assert all(r["label_nmi"] is None for r in rounds)
    assert_identical(weights(tmp_path), weights(uninterrupted[0]))
    assert_identical(weights(tmp_path, BEST_FILE), weights(uninterrupted[0], BEST_FILE))


def test_collapse_stops_the_run_and_keeps_the_last_healthy_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_step = steps_module._step

    def collapsing_step(run: Any, *arguments: Any) -> np.ndarray:
        outcome = real_step(run, *arguments)
        if run.state.step == 2:
            with torch.no_grad():
                for network in (run.network, run.average):
                    network.embedding_head.weight.mul_(1e-9)
                    network.embedding_head.bias.fill_(1.0)
        return outcome

    monkeypatch.setattr(steps_module, "_step", collapsing_step)
    rounds = tiny_fit(tmp_path, tiny_params())
    assert [r["step"] for r in rounds] == [0, 2, 4]  # stopped: step 6 never came
    assert not rounds[-1]["healthy"]
    assert "collapsed" in rounds[-1]["verdict"]
    assert not rounds[-1]["picked"]
    assert next(r for r in rounds if r["picked"])["healthy"]


def test_a_loss_that_is_not_a_number_stops_the_run(tmp_path: Path) -> None:
    rounds = tiny_fit(tmp_path, tiny_params(learning_rate=1e30))
    assert not rounds[-1]["healthy"]
    assert rounds[-1]["step"] < 6
    assert "not finite" in rounds[-1]["verdict"] or "collapsed" in rounds[-1]["verdict"]


@pytest.mark.parametrize("loss", ["triplet_semihard", "contrastive", "margin", "nt_xent", "proxy_anchor"])
def test_every_loss_trains(loss: str, tmp_path: Path) -> None:
    rounds = tiny_fit(tmp_path, tiny_params(loss=loss, steps=2))
    assert np.isfinite(rounds[-1]["metric_loss"])


def test_rotation_zero_leaves_the_rotation_head_alone(tmp_path: Path) -> None:
    params = tiny_params(rotation_weight=0.0, steps=2)
    rounds = tiny_fit(tmp_path, params)
    fresh = tiny_network(params)[0].rotation_head.state_dict()
    trained = weights(tmp_path)
    assert all(torch.equal(trained[f"network/rotation_head.{name}"], value) for name, value in fresh.items())
    assert rounds[-1]["rotation_loss"] == 0.0


def test_frozen_blocks_do_not_move(uninterrupted: tuple[Path, list[dict[str, Any]]]) -> None:
    network = tiny_network(tiny_params())[0]
    trained = weights(uninterrupted[0])
    for name, parameter in network.trunk.named_parameters():
        same = torch.equal(trained[f"network/trunk.{name}"], parameter)
        assert same != parameter.requires_grad, name


def test_an_unavailable_device_is_named(tmp_path: Path) -> None:
    missing = "mps" if not torch.backends.mps.is_available() else "cuda"
    with pytest.raises(UdmlError, match=f"train.device is {missing}, and this machine has none"):
        tiny_fit(tmp_path, tiny_params(device=missing))


def test_a_random_head_is_the_papers_start(tmp_path: Path) -> None:
    params = dataclasses.replace(tiny_params(steps=2), head_start="random")
    assert tiny_fit(tmp_path, params)[0]["healthy"]


def test_training_from_images_that_stay_on_the_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The path a GPU takes, on the CPU: the same views but for sampling, so nearly the same losses."""
    expected = tiny_fit(tmp_path / "host", tiny_params())
    real_start = fit_module.start_run

    def start(network: Any, data: TrainingSet, *arguments: Any) -> Run:
        run = real_start(network, data, *arguments)
        assert run.device.resident is None  # on a CPU
        run.device.resident = upload(data.images, torch.device("cpu"))
        return run

    monkeypatch.setattr(fit_module, "start_run", start)
    found = tiny_fit(tmp_path / "device", tiny_params())
    assert len(found) == len(expected)
    for one, other in zip(found[1:], expected[1:], strict=True):
        assert one["metric_loss"] != other["metric_loss"]  # it was another path
        assert one["metric_loss"] == pytest.approx(other["metric_loss"], rel=0.2)
        assert one["rotation_loss"] == pytest.approx(other["rotation_loss"], rel=0.1)


@pytest.mark.slow
def test_a_compiled_step_computes_what_the_plain_one_does() -> None:
    """What a GPU runs, but for the code generator: the graph is captured whole and differentiated."""
    params = tiny_params(rotation_images=4)
    network, _ = tiny_network(params)
    plain = StepForward(network, np.arange(4) * 2)
    compiled = torch.compile(plain, backend="aot_eager", fullgraph=True)
    x = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    gradients = []
    for forward in (plain, compiled):
        network.zero_grad(set_to_none=True)
        embeddings, logits = forward(x)
        (embeddings.square().sum() * 0.1 + embeddings[:, 0].sum() + logits.logsumexp(1).sum()).backward()
        gradients.append(
            {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}
        )
    assert gradients[0].keys() == gradients[1].keys() != set()
    for name, gradient in gradients[0].items():
        assert torch.allclose(gradient, gradients[1][name], rtol=1e-3, atol=1e-5), name
