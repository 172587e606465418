"""Judgements as CSV, out and in: first,second,answer,by,at."""

import csv
from pathlib import Path

from udml.errors import UdmlError
from udml.files import atomic_path
from udml.judgement.answers import FILE, WITHDRAWN, Answer, append, checked, read_answers

COLUMNS = ("first", "second", "answer", "by", "at")
_NEEDED = COLUMNS[:3]
_HOW = f"columns {', '.join(_NEEDED)}; by and at if you have them"


def write_csv(out: Path, path: Path = FILE) -> int:
    """Write every answer that stands; returns how many.

    Raises:
        UdmlError: if there is none.
    """
    answers = read_answers(path)
    rows = [one for judges in answers.standing.values() for one in judges.values()]
    if not rows:
        raise UdmlError(f"no judgements at {path}", "`udml judge` asks for some")
    with atomic_path(out) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows((*one.pictures, one.answer, one.by, one.at) for one in rows)
    return len(rows)


def read_csv(source: Path, path: Path = FILE) -> tuple[int, int]:
    """Append the answers of a CSV file, all or none; returns how many were new, and how many stood already.

    Raises:
        UdmlError: naming the line that is wrong, and why.
    """
    there = read_answers(path).standing
    new, known = [], 0
    for answer in _rows(source):
        if there.get(answer.pictures, {}).get(answer.by) == answer:
            known += 1
        else:
            new.append(answer)
    if new:
        append(new, path)
    return len(new), known


def _rows(source: Path) -> list[Answer]:
    try:
        with source.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            if not set(_NEEDED) <= set(reader.fieldnames or ()):
                raise UdmlError(f"{source} lacks columns of judgements", _HOW)
            return [_checked(source, reader.line_num, row) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UdmlError(f"{source} is not CSV in UTF-8: {error}", _HOW) from error


def _checked(source: Path, line: int, row: dict[str, str]) -> Answer:
    try:
        values = [(row.get(name) or "").strip() for name in COLUMNS]
        if values[2] == WITHDRAWN:
            raise ValueError("an answer that was withdrawn is none")
        return checked(*values)
    except ValueError as error:
        raise UdmlError(f"{source}, line {line}: {error}", "mend the line; nothing was taken over") from error
