"""judgements.jsonl and CSV: what is kept, whatever happens to the file."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT
from tests.judgement.known import known
from tests.pipeline import commit, run
from udml.cli import main
from udml.errors import UdmlError
from udml.judgement.answers import Answer, append, checked, read_answers, stamped
from udml.judgement.exchange import read_csv, write_csv

A, B, C = (letter * 64 for letter in "abc")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "judgements.jsonl"


def said(path: Path) -> dict[tuple[str, str], list[str]]:
    return {key: [one.answer for one in by.values()] for key, by in read_answers(path).standing.items()}


def test_an_answer_is_of_a_pair_whichever_is_the_query(file: Path) -> None:
    append([stamped(B, A, "same", ""), stamped(A, C, "unsure", "")], file)
    assert said(file) == {(A, B): ["same"], (A, C): ["unsure"]}


def test_the_later_answer_of_a_judge_counts_and_others_stay(file: Path) -> None:
    append([stamped(A, B, "same", "anna"), stamped(A, B, "different", "ben")], file)
    append([stamped(B, A, "different", "anna")], file)
    assert said(file) == {(A, B): ["different", "different"]}
    append([stamped(A, B, "withdrawn", "ben"), stamped(A, B, "withdrawn", "anna")], file)
    assert said(file) == {}
    assert len(file.read_text().splitlines()) == 5  # nothing is ever overwritten


def test_who_and_when_are_kept_if_there_is_a_name(file: Path) -> None:
    append([stamped(A, B, "same", "Änne"), stamped(A, C, "same", "")], file)
    named, nameless = (json.loads(line) for line in file.read_text().splitlines())
    assert named["by"] == "Änne"
    assert named["at"].endswith("Z")
    assert set(nameless) == {"pictures", "answer"}


@pytest.mark.parametrize("cut", [1, 20, 100, -2, -1])
def test_a_line_that_a_kill_cut_short_costs_itself_only(file: Path, cut: int) -> None:
    append([stamped(A, B, "same", "")], file)
    whole = file.read_bytes()
    append([stamped(A, C, "different", "")], file)
    file.write_bytes(whole + file.read_bytes()[len(whole) :][:cut])
    append([stamped(B, C, "unsure", "")], file)
    found = read_answers(file)
    kept = {(A, B), (B, C)} | ({(A, C)} if cut == -1 else set())  # only the line's end was lost
    assert set(found.standing) == kept
    assert found.unreadable == (cut != -1)


@pytest.mark.parametrize(
    "line",
    [
        b"{}", b"[]", b"null", b"\xff\xfe", b'{"pictures": ["a", "b"], "answer": "same"}',
        json.dumps({"pictures": [A, A], "answer": "same"}).encode(),
        json.dumps({"pictures": [A, B, C], "answer": "same"}).encode(),
        json.dumps({"pictures": [A, B], "answer": "yes"}).encode(),
        json.dumps({"pictures": [A, B], "answer": ["same"]}).encode(),
        json.dumps({"pictures": [A, B], "answer": "same", "by": 3}).encode(),
        b"<<<<<<< HEAD",
    ],
)  # fmt: skip
def test_lines_that_are_no_answers_are_counted(file: Path, line: bytes) -> None:
    file.write_bytes(line + b"\n\n")
    append([stamped(A, B, "same", "")], file)
    found = read_answers(file)
    assert (len(found), found.unreadable) == (1, 1)


def test_many_processes_write_at_once_and_every_line_is_whole(file: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from udml.judgement.answers import append, stamped\n"
        "for n in range(50): append([stamped(f'{n:064x}', 'f' * 64, 'same', sys.argv[2])], Path(sys.argv[1]))"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(file), name]) for name in "xyz"]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    found = read_answers(file)
    assert found.unreadable == 0
    assert all(set(judges) == {"x", "y", "z"} for judges in found.standing.values())
    assert len(found) == 50


def test_git_puts_the_answers_of_two_people_together(tmp_path: Path) -> None:
    anna, ben = tmp_path / "anna", tmp_path / "ben"
    anna.mkdir()
    run(anna, "git", "init", "-q", "-b", "main")
    (anna / ".gitattributes").write_bytes((ROOT / ".gitattributes").read_bytes())
    append([stamped(A, B, "same", "anna")], anna / "judgements.jsonl")
    commit(anna, "first")
    run(tmp_path, "git", "clone", "-q", "anna", "ben")
    append([stamped(A, C, "same", "anna")], anna / "judgements.jsonl")
    append([stamped(A, C, "different", "ben"), stamped(B, C, "same", "ben")], ben / "judgements.jsonl")
    commit(anna, "anna's")
    commit(ben, "ben's")
    run(ben, "git", "pull", "-q", "--no-rebase", "--no-edit", "origin", "main")
    assert said(ben / "judgements.jsonl") == {
        (A, B): ["same"], (A, C): ["different", "same"], (B, C): ["same"]
    }  # fmt: skip
    assert read_answers(ben / "judgements.jsonl").agreement() == (0, 1)


def test_answers_on_pairs_are_shares_of_those_who_could_say() -> None:
    pairs = known(images=40, models=2).pairs
    answers = read_answers(Path("none"))
    for by, answer in (("x", "same"), ("y", "different"), ("z", "unsure")):
        answers.add(Answer(pairs.keys[3], answer, by))
    answers.add(Answer(pairs.keys[5], "unsure"))
    asked, shares = answers.on(pairs)
    assert np.flatnonzero(asked).tolist() == [3, 5]
    assert shares[3] == 0.5
    assert np.isnan(shares[5])


def test_most_judges_decide_what_training_may_use() -> None:
    answers = read_answers(Path("none"))
    for by, answer in (("x", "same"), ("y", "different"), ("z", "same")):
        answers.add(Answer((A, B), answer, by))
    for by, answer in (("x", "same"), ("y", "different")):
        answers.add(Answer((A, C), answer, by))
    answers.add(Answer((B, C), "different", "x"))
    answers.add(Answer((B, C), "unsure", "y"))
    assert answers.verdicts() == [(A, B, True), (B, C, False)]


def test_csv_goes_out_and_comes_in_again(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["judge", "--export", "out.csv"]) == 1
    assert "no judgements" in capsys.readouterr().err
    append([stamped(A, B, "same", "Änne, B."), stamped(A, C, "unsure", "")], file)
    assert main(["judge", "--export", "out.csv"]) == 0
    before = said(file)
    assert read_csv(tmp_path / "out.csv", file) == (0, 2)
    file.unlink()
    assert main(["judge", "--import", "out.csv"]) == 0
    assert "2 judgements added" in capsys.readouterr().out
    assert said(file) == before
    assert write_csv(tmp_path / "again.csv", file) == 2
    assert (tmp_path / "again.csv").read_text() == (tmp_path / "out.csv").read_text()


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("a,b\n1,2\n", "lacks columns"),
        (f"first,second,answer\n{A},{B},same\n{A},{B},perhaps\n", "line 3: the answer is 'perhaps'"),
        (f"first,second,answer\n{A},x.jpg,same\n", "line 2: 'x.jpg' is not the sha256"),
        (f"first,second,answer\n{A},{A},same\n", "line 2: both pictures"),
        (f"first,second,answer\n{A}\n", "line 2"),
    ],
)
def test_csv_that_is_wrong_is_told_and_nothing_taken(
    tmp_path: Path, file: Path, text: str, wrong: str
) -> None:
    (tmp_path / "in.csv").write_text(text)
    with pytest.raises(UdmlError, match=wrong):
        read_csv(tmp_path / "in.csv", file)
    assert not file.exists()


def test_names_of_pictures_are_checked() -> None:
    with pytest.raises(ValueError, match="64 hex digits"):
        checked("A" * 64, B, "same")
