"""judgements.jsonl: what people said of pairs of pictures, one answer a line, only ever appended to.

    {"pictures": ["<sha256>", "<sha256>"], "answer": "same", "by": "anna", "at": "2026-11-28T12:00:00Z"}

`by` and `at` are there if the judge gave a name. A judge's later line on a pair replaces the earlier one;
"withdrawn" takes it back. Files of two people merge by putting their lines together, which git does by itself
(`judgements.jsonl merge=union` in .gitattributes), so the order of lines of different judges means nothing.
A line cut off by a kill is left out, and counted.
"""

import fcntl
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from udml.errors import UdmlError
from udml.files import utc_now
from udml.judgement.pairs import Pairs, key_of

FILE = Path("judgements.jsonl")
SAME, DIFFERENT, UNSURE, WITHDRAWN = "same", "different", "unsure", "withdrawn"
ANSWERS = (SAME, DIFFERENT, UNSURE)
_WORTH = {SAME: 1.0, DIFFERENT: 0.0}
_SHA256 = re.compile("[0-9a-f]{64}")
_MOST_NAME = 80
Key = tuple[str, str]


@dataclass(frozen=True)
class Answer:
    """What one judge said of one pair.

    Attributes:
        pictures: sha256 of both files, the smaller first.
        answer: one of `ANSWERS`, or "withdrawn".
        by: the judge's name, "" if none was given.
        at: when, UTC, ISO 8601; "" without a name.
    """

    pictures: Key
    answer: str
    by: str = ""
    at: str = ""


@dataclass
class Answers:
    """All answers of a file that stand.

    Attributes:
        standing: by pair and judge.
        unreadable: how many lines were left out.
    """

    standing: dict[Key, dict[str, Answer]] = field(default_factory=dict)
    unreadable: int = 0

    def __len__(self) -> int:
        return len(self.standing)

    def add(self, answer: Answer) -> None:
        """Take note of an answer given later than all others of its judge."""
        of_pair = self.standing.setdefault(answer.pictures, {})
        of_pair.pop(answer.by, None)
        if answer.answer != WITHDRAWN:
            of_pair[answer.by] = answer
        if not of_pair:
            del self.standing[answer.pictures]

    def on(self, pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
        """The answers on pairs: whether there is one, bool [p], and the share who said "same", float64 [p].

        The share is NaN where nobody answered, or nobody could say.
        """
        asked = np.array([key in self.standing for key in pairs.keys], bool)
        shares = np.full(len(pairs), np.nan)
        for at in np.flatnonzero(asked).tolist():
            worth = _worth(self.standing[pairs.keys[at]])
            if worth:
                shares[at] = sum(worth) / len(worth)
        return asked, shares

    def verdicts(self) -> list[tuple[str, str, bool]]:
        """Pairs on which most judges who could say agree, in order, and whether they said "same"."""
        found = []
        for key, judges in sorted(self.standing.items()):
            worth = _worth(judges)
            if worth and sum(worth) * 2 != len(worth):
                found.append((*key, sum(worth) * 2 > len(worth)))
        return found

    def agreement(self) -> tuple[int, int]:
        """Of pairs on which several judges said "same" or "different": on how many all agree; how many."""
        said = [
            {one.answer for one in judges.values() if one.answer in _WORTH}
            for judges in self.standing.values()
            if sum(one.answer in _WORTH for one in judges.values()) > 1
        ]
        return sum(len(kinds) == 1 for kinds in said), len(said)


def read_answers(path: Path = FILE) -> Answers:
    """What stands in a file; nothing if there is none.

    Raises:
        UdmlError: if it cannot be read.
    """
    answers = Answers()
    try:
        lines = path.read_bytes().split(b"\n") if path.exists() else []
    except OSError as error:
        raise UdmlError(f"cannot read {path}: {error.strerror}", "check its permissions") from error
    for line in lines:
        if not line.strip():
            continue
        answer = _parsed(line)
        if answer is None:
            answers.unreadable += 1
        else:
            answers.add(answer)
    return answers


def _worth(judges: Mapping[str, Answer]) -> list[float]:
    """1 for each judge who said "same", 0 for each who said "different"; nothing for who could not say."""
    return [_WORTH[one.answer] for one in judges.values() if one.answer in _WORTH]


def _parsed(line: bytes) -> Answer | None:
    try:
        values = json.loads(line)
        first, second = values["pictures"]
        return checked(first, second, values["answer"], values.get("by", ""), values.get("at", ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def checked(first: Any, second: Any, answer: Any, by: Any = "", at: Any = "") -> Answer:
    """An answer from plain values.

    Raises:
        ValueError: saying what is wrong with them.
    """
    for sha256 in (first, second):
        if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
            raise ValueError(f"{sha256!r} is not the sha256 of a file: 64 hex digits")
    if first == second:
        raise ValueError("both pictures are the same file")
    if answer not in (*ANSWERS, WITHDRAWN):
        raise ValueError(f"the answer is {answer!r}, expected one of {', '.join(ANSWERS)}")
    if not isinstance(by, str) or not isinstance(at, str) or len(by) > _MOST_NAME or len(at) > _MOST_NAME:
        raise ValueError(f"names and times are texts of at most {_MOST_NAME} letters")
    return Answer(key_of(first, second), answer, by, at)


def stamped(first: str, second: str, answer: str, by: str) -> Answer:
    """An answer given now; who and when are kept if there is a name."""
    return checked(first, second, answer, by, utc_now() if by else "")


def append(answers: Iterable[Answer], path: Path = FILE) -> None:
    """Add answers at the end of the file, on disk when this returns; several processes may do so at once.

    What a kill cut off there stays, on a line of its own.
    """
    lines = [json.dumps(_plain(one), ensure_ascii=False).encode() + b"\n" for one in answers]
    with path.open("ab+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        end = file.seek(0, os.SEEK_END)
        if end:
            file.seek(end - 1)
            if file.read(1) != b"\n":
                lines.insert(0, b"\n")
        file.write(b"".join(lines))
        file.flush()
        os.fsync(file.fileno())


def _plain(answer: Answer) -> Mapping[str, object]:
    who = {"by": answer.by, "at": answer.at} if answer.by else {}
    return {"pictures": list(answer.pictures), "answer": answer.answer, **who}
