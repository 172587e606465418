"""Foreign text: no byte of it reaches a terminal or a file as anything but text."""

import os
import subprocess
import sys

import pytest

from udml.text import printable, printable_lines, readable, source_name


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


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"),
        (-0.0, "0"),
        (3086.4, "3,086"),
        (3.09e3, "3,090"),
        (123456789.1, "123,456,789"),
        (1e21, "1,000,000,000,000,000,000,000"),
        (999.96, "1,000"),
        (127.04, "127"),
        (99.97, "100"),
        (12.345, "12.3"),
        (1.0, "1"),
        (-24.96, "-25"),
        (0.5, "0.5"),
        (0.999999, "1"),
        (0.00922, "0.00922"),
        (4.2e-5, "0.000042"),
        (1e-9, "under 0.000001"),
        (-1e-9, "above -0.000001"),
        (float("nan"), "unknown"),
        (float("inf"), "infinite"),
    ],
)
def test_numbers_for_people(value: float, shown: str) -> None:
    assert readable(value) == shown


@pytest.mark.parametrize("digits", [1, 3, 4])
def test_no_magnitude_has_an_exponent_and_every_number_stays_what_it_was(digits: int) -> None:
    for exponent in range(-6, 16):
        for value in (1.2345 * 10.0**exponent, -9.8765 * 10.0**exponent):
            shown = readable(value, digits)
            assert "e" not in shown
            assert float(shown.replace(",", "")) == pytest.approx(value, rel=10.0 ** (1 - digits) / 2 * 1.01)
