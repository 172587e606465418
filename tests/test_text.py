"""Foreign text: no byte of it reaches a terminal or a file as anything but text."""

import os
import subprocess
import sys

import pytest

from udml.text import printable, printable_lines, source_name


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"plain name.jpg", "plain name.jpg"),
        ("ünïcödé 图 é.jpg".encode(), "ünïcödé 图 é.jpg"),
        (b"latin \xe9.jpg", "latin \\xe9.jpg"),
        (b"\xff\xfe.jpg", "\\xff\\xfe.jpg"),
        (b"cut \xc3", "cut \\xc3"),
        (b"red \x1b[31m.jpg", "red \\x1b[31m.jpg"),
        (b"title \x1b]0;pwned\x07.jpg", "title \\x1b]0;pwned\\x07.jpg"),
        (b"line\nbreak\r\t.jpg", "line\\x0abreak\\x0d\\x09.jpg"),
        ("c1 \x9b31m.jpg".encode(), "c1 \\x9b31m.jpg"),
        ("\u202egpj.exe".encode(), "\\u202egpj.exe"),
        ("a\u2028b".encode(), "a\\u2028b"),
    ],
)
def test_printable(name: bytes, shown: str) -> None:
    text = printable(os.fsdecode(name))
    assert text == shown
    text.encode("utf-8")


def test_lines_stay_lines_and_lone_surrogates_become_escapes() -> None:
    assert printable_lines("a\x1b\n  -> b") == "a\\x1b\n  -> b"
    assert printable("\ud800") == "\\ud800"
    assert source_name(os.fsdecode(b"a/\xe9.jpg")) == "a/\\xe9.jpg"


@pytest.mark.parametrize(
    "environment",
    [
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "utf-8:strict"},
        {"PYTHONIOENCODING": "ascii:strict"},
        {"PYTHONIOENCODING": "latin-1"},
    ],
)
@pytest.mark.parametrize("name", [b"no \xe9\x1b[31m.jpg", "no \u56fe.jpg".encode()])
def test_a_name_is_never_too_foreign_for_a_terminal(environment: dict[str, str], name: bytes) -> None:
    done = subprocess.run(
        [sys.executable.encode(), b"-m", b"udml", b"data", b"import", name],
        env={**os.environ, **environment},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1
    assert b"does not exist" in done.stderr
    assert b"Traceback" not in done.stderr
    assert b"\x1b" not in done.stderr
