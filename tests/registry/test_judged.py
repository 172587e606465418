"""People's judgements in a workspace: what there is to judge, at the gate, in the report, of a version."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.pipeline import commit, make_workspace, run
from tests.registry.test_challenge import make
from udml import paths
from udml.cli import main
from udml.config import load_params
from udml.data.catalog import read_catalog
from udml.errors import UdmlError
from udml.evaluation.evaluate import evaluate
from udml.evaluation.intervals import Estimate
from udml.judgement.answers import FILE, append, read_answers, stamped
from udml.judgement.deck import Deck, open_deck
from udml.judgement.estimate import Judged
from udml.judgement.standing import Standing
from udml.registry import store
from udml.registry.bundle import workspace_sources
from udml.registry.challenge import challenge
from udml.registry.gate import Measured
from udml.registry.judged.gate import judged_instead
from udml.registry.judged.models import judged_standing, models_to_judge
from udml.registry.workspace import own_copy
from udml.report.judged import judged_section


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("made")
    return {"good": make(folder / "good", 0, 12, labelled=False), "bad": make(folder / "bad", 3, 2, False)}


@pytest.fixture
def workspace(made: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the pipeline ran, without labels; its champion, v1, sees far less than the challenger."""
    import shutil

    here = shutil.copytree(made["good"], tmp_path / "here", symlinks=True)
    store.register(here / "models", workspace_sources(made["bad"]))
    store.promote(here / "models", "v1", "")
    monkeypatch.chdir(here)
    (here / "dvc.yaml").write_text("stages: {}\n")
    return here


def kind_of(workspace: Path) -> dict[str, int]:
    """The true class of each file: the pictures were made in turn, of 24 kinds."""
    catalog = read_catalog(workspace / paths.PREPARED)
    return {str(sha256): row % 24 for row, sha256 in enumerate(catalog["sha256"])}


def judge_all(workspace: Path, deck: Deck, share: float = 1.0, says: Callable[[bool], bool] = bool) -> None:
    kinds = kind_of(workspace)
    order = np.argsort(deck.pairs.turn)[: round(share * len(deck.pairs))]
    keys = [deck.pairs.keys[at] for at in order]
    append(stamped(a, b, "same" if says(kinds[a] == kinds[b]) else "different", "anna") for a, b in keys)


def test_all_pairs_judged_give_the_recall_that_labels_give(
    made: dict[str, Path], workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Precision at 1 is Recall@1; with labels there, both are computed on the same images."""
    deck = open_deck(models_to_judge(Path("models")))
    assert [model.title for model in deck.models] == ["frozen backbone", "champion v1", "challenger"]
    judge_all(workspace, deck)
    standing = judged_standing(Path("models"))
    assert standing is not None
    assert standing.judged is not None
    labelled = make(workspace.parent / "labelled", 0, 12)
    monkeypatch.chdir(labelled)
    scores = evaluate(load_params()).models
    for number, name in ((0, "frozen"), (2, "trained")):
        one = standing.judged.precision[number][0]
        found = scores[name].scores
        protocol = (
            "leave_one_out_neighbourhoods" if "leave_one_out_neighbourhoods" in found else "leave_one_out"
        )
        assert one.low == one.high == pytest.approx(found[protocol].estimates["recall_at_1"].value)


def test_pictures_are_those_of_the_files(workspace: Path) -> None:
    """As the models saw them, where the originals are away."""
    deck = open_deck(models_to_judge(Path("models")))
    first = deck.pairs.keys[0][0]
    assert deck.picture(first).dtype == np.uint8
    assert deck.picture(first).ndim == 3


def test_what_is_found_is_kept_and_a_model_that_went_is_forgotten(workspace: Path) -> None:
    first = open_deck(models_to_judge(Path("models")))
    kept = {path.name: path.stat().st_mtime_ns for path in Path(".scratch").glob("judge-*/*")}
    again = open_deck(models_to_judge(Path("models")))
    assert again.pairs.keys == first.pairs.keys
    assert {path.name: path.stat().st_mtime_ns for path in Path(".scratch").glob("judge-*/*")} == kept
    open_deck(models_to_judge(Path("models"))[::2])
    assert len(list(Path(".scratch").glob("judge-*/*"))) == len(kept) - 2


def test_one_model_is_nothing_to_compare(workspace: Path) -> None:
    with pytest.raises(UdmlError, match="not two different models"):
        open_deck(models_to_judge(Path("models"))[:1])
    append([stamped("a" * 64, "b" * 64, "same", "")])
    (paths.EXPORTED / "frozen.onnx").write_bytes(paths.MODEL.read_bytes())  # what ships is the backbone
    assert judged_standing(Path("nowhere")) is None
    (paths.INDEXED / "index.json").unlink()
    with pytest.raises(UdmlError, match="no index"):
        open_deck(models_to_judge(Path("models")))


def test_the_champion_itself_is_no_challenger_of_itself(made: dict[str, Path], workspace: Path) -> None:
    store.register(Path("models"), workspace_sources())
    store.promote(Path("models"), "v2", "")
    deck = open_deck(models_to_judge(Path("models")))
    assert [model.title for model in deck.models] == ["frozen backbone", "champion v2"]
    assert deck.kinds == {"baseline": 0, "champion": 1, "challenger": 1}
    judge_all(workspace, deck)
    standing = judged_standing(Path("models"))
    assert standing is not None
    assert standing.difference("challenger", "champion") is None
    assert standing.difference("challenger", "baseline") is not None


def test_judgements_decide_at_the_gate_where_they_can(workspace: Path) -> None:
    before = challenge(Path("models"))
    assert [rule["measured"]["metric"] for rule in before.gate["rules"]] == ["neighbours_found_again"] * 2
    judge_all(workspace, open_deck(models_to_judge(Path("models"))), 0.8)
    after = challenge(Path("models"))
    assert [rule["measured"]["metric"] for rule in after.gate["rules"]] == ["precision_at_5"] * 2
    assert after.promote
    assert "precision at 5, as people judged it, is" in after.reason
    assert [row["figure"] for row in after.table[:2]] == ["precision at 1, judged", "precision at 5, judged"]
    assert list(after.table[0]) == list(before.table[0])
    assert all(after.table[1].values())
    assert after.table[2:] == before.table


def test_people_who_see_it_otherwise_refuse(workspace: Path) -> None:
    judge_all(workspace, open_deck(models_to_judge(Path("models"))), 0.8, lambda same: not same)
    result = challenge(Path("models"))
    assert not result.promote
    assert result.reason.startswith("refused: precision at 5, as people judged it,")


def test_a_few_answers_decide_nothing_yet(workspace: Path) -> None:
    append([stamped("a" * 64, "b" * 64, "same", "")])  # of other pictures
    assert judged_standing(Path("models")) is None
    judge_all(workspace, open_deck(models_to_judge(Path("models"))), 0.05)
    rules = challenge(Path("models")).gate["rules"]
    assert [rule["measured"]["metric"] for rule in rules] == ["neighbours_found_again"] * 2


@pytest.mark.parametrize(
    ("low", "high", "answers", "decides"),
    [(0.01, 0.2, 60, True), (-0.2, -0.01, 60, True), (-0.1, 0.1, 60, False), (0.01, 0.2, 49, False)],
)
def test_they_decide_as_soon_as_they_leave_no_doubt(
    low: float, high: float, answers: int, decides: bool
) -> None:
    other = Measured("the frozen backbone", "map_at_r", 0.5, 0.4, Estimate(0.1, 0.05, 0.15))
    models: list[Any] = [None, None]
    one = (Estimate(0.5, 0.4, 0.6),) * 2
    said = Judged(answers, 0, [one, one], {(0, 1): (Estimate(0.0, low, high),) * 2}, {(0, 1): 0})
    standing = Standing(models, {"baseline": 0, "challenger": 1}, ["a", "b"], 1000, answers, said)
    found = judged_instead(other, standing, "baseline", 0.0)
    assert (found.metric == "precision_at_5") == decides
    assert judged_instead(other, standing, "champion", 0.0) is other
    assert judged_instead(other, None, "baseline", 0.0) is other


def test_a_version_tells_what_was_judged(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "show", "v1"]) == 0
    assert "judged" not in capsys.readouterr().out
    judge_all(workspace, open_deck(models_to_judge(Path("models"))), 0.6)
    challenge(Path("models"))
    assert main(["models", "show", "v1"]) == 0
    assert "judged         precision at 1 " in capsys.readouterr().out


def test_the_report_shows_judgements(workspace: Path) -> None:
    judge_all(workspace, open_deck(models_to_judge(Path("models"))), 0.6)
    standing = judged_standing(Path("models"))
    assert standing is not None
    html = judged_section(standing).html()
    assert all(model.title in html for model in standing.models)
    assert "The challenger finds more than the champion v1" in html
    assert f"{standing.judged.answers:,} answers of people" in html  # type: ignore[union-attr]


def test_a_retraining_takes_answers_along_committed_or_not(tmp_path: Path) -> None:
    project = make_workspace(tmp_path / "project")
    append([stamped("a" * 64, "b" * 64, "same", "")], project / FILE)
    (project / "models").mkdir()
    with own_copy(project, "copy") as copy:
        assert len(read_answers(copy / FILE)) == 1
    commit(project, "judged")
    assert "judgements" in run(project, "git", "ls-files").stdout


def test_the_command_asks_until_it_is_stopped_and_needs_no_torch(workspace: Path) -> None:
    """The page's own address, an answer, a kill, and the same command again."""
    code = (
        "import sys; from udml.cli import main; status = main(['judge', '--name', 'anna']);"
        "assert 'torch' not in sys.modules; sys.exit(status)"
    )

    def start() -> tuple["subprocess.Popen[str]", str]:
        started = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=workspace,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
        assert started.stdout is not None
        line = next(line for line in started.stdout if line.startswith("serving on "))
        return started, line.split()[-1]

    def answer(url: str) -> dict[str, Any]:
        told = httpx.post(f"{url}v1/next", json={"seat": "x"}).json()
        body = {"seat": "x", "pictures": told["pair"], "answer": "unsure", "name": told["name"]}
        return httpx.post(f"{url}v1/answers", json=body).json()

    process, url = start()
    watchdog = threading.Timer(300, process.kill)
    watchdog.start()
    assert answer(url)["standing"]["answers"] == 1
    process.send_signal(signal.SIGKILL)
    process.wait()
    with (workspace / FILE).open("a") as file:
        file.write('{"pictures": ["')  # what a kill may leave
    process, url = start()
    assert answer(url)["standing"]["answers"] == 2
    process.send_signal(signal.SIGINT)
    said = process.stdout.read()  # type: ignore[union-attr]
    assert process.wait() == 0
    watchdog.cancel()
    assert "2 answers in judgements.jsonl" in said
    judges = [judge for by in read_answers(workspace / FILE).standing.values() for judge in by]
    assert judges == ["anna", "anna"]


def test_outside_a_project_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["judge"]) == 1
    assert "no project of udml" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["judge", "--name", " "])
    assert "a name has" in capsys.readouterr().err
