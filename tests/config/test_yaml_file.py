"""The one reader of YAML, and everything that reads by it: one sentence, whatever is in the file."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT
from udml.collection.shared.files import import_md5
from udml.config import load_params
from udml.config.yaml_file import mapping_at, read_mapping, read_yaml
from udml.data.importing.ensure import ensure_data
from udml.errors import UdmlError
from udml.registry.changes import _thresholds
from udml.registry.compare import differing_params

TENFOLD = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
MERGED = [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, 12)]
BAD = {
    "nested lists": b"[" * 5_000,
    "nested items": b"- " * 3_000,
    "nested mappings": b"{a: " * 3_000,
    "no date": b"a: 2001-99-99",
    "no time": b"a: 2001-01-01T25:00:00Z",
    "no int": b"a: !!int x",
    "no digits": b'a: !!int ""',
    "no float": b'a: !!float ""',
    "no bool": b"a: !!bool x",
    "too many digits": b"a: " + b"9" * 5_000,
    "too large in base 60": b"a: 1" + b":00" * 400 + b":00.5",
    "an object": b"a: !!python/object/apply:os.getcwd []",
    "an alias of itself": b"a: &a [*a]",
    "a mapping in itself": b"a: &a {b: *a}",
    "aliases of aliases": "\n".join(["a0: &a0 [x]", *TENFOLD]).encode(),
    "merges of merges": "\n".join(["a0: &a0 {k: 1}", *MERGED]).encode(),
    "an unknown alias": b"a: *b",
    "a key that is a list": b"? [a]\n: b",
    "open": b"a: [1",
    "zeros": b"\x00",
    "Latin-1": b"a: caf\xe9",
    "UTF-16": "a: 1".encode("utf-16"),
    "half a character": b"a: \xe2\x82",
    "a surrogate": b"a: \xed\xa0\x80",
    "two documents": b"a: 1\n---\nb: 2\n",
}
NO_MAPPING = {"a list": b"- a\n", "a word": b"a", "a number": b"3", "a date": b"2001-01-01"}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_what_is_no_yaml_or_too_large_is_one_error(text: bytes, tmp_path: Path) -> None:
    path = tmp_path / "some.yaml"
    path.write_bytes(text)
    with pytest.raises(UdmlError, match=r"some\.yaml is not YAML in UTF-8"):
        read_yaml(path)


@pytest.mark.parametrize("text", NO_MAPPING.values(), ids=NO_MAPPING)
def test_names_and_values_are_wanted(text: bytes, tmp_path: Path) -> None:
    path = tmp_path / "some.yaml"
    path.write_bytes(text)
    with pytest.raises(UdmlError, match="does not hold names and values"):
        read_mapping(path)


def test_what_is_no_file_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for place in (tmp_path / "none", tmp_path / "folder", Path("/dev/null")):
        with pytest.raises(UdmlError, match=re.escape(f"cannot read {place}")):
            read_yaml(place)


def test_what_yaml_may_say_is_understood(tmp_path: Path) -> None:
    path = tmp_path / "some.yaml"
    path.write_text("\ufeffbase: &base {a: 1, b: é}\nmade: {<<: *base, a: 2}\nlist: [*base, *base]\nnone:\n")
    found = read_mapping(path)
    assert found["made"] == {"a": 2, "b": "é"}
    assert found["list"] == [{"a": 1, "b": "é"}] * 2
    assert mapping_at(found, "made") == found["made"]
    assert mapping_at(found, "none", "below") == mapping_at(found, "list") == mapping_at(found, "x") == {}
    path.write_text("")
    assert read_mapping(path) == {}
    path.write_text("[" + "1, " * 99_000 + "1]")
    assert len(read_yaml(path)) == 99_001
    for own in [*(ROOT / "src" / "udml" / "presets").glob("*.yaml"), ROOT / "dvc.yaml", ROOT / "data.dvc"]:
        assert read_mapping(own) == yaml.safe_load(own.read_text())


def _data_dvc(path: Path) -> object:
    path.rename(path.with_name("data.dvc"))
    return ensure_data(path.with_name("data"))


READERS: dict[str, Callable[[Path], object]] = {
    "params.yaml": load_params,
    "the gate's thresholds": _thresholds,
    "params of two versions": lambda path: differing_params(path.parent, path.parent),
    "dvc.lock": import_md5,
    "data.dvc": _data_dvc,
}


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
@pytest.mark.parametrize("text", [*BAD.values(), *NO_MAPPING.values()], ids=[*BAD, *NO_MAPPING])
def test_every_reader_says_it_in_a_sentence(
    reader: Callable[[Path], object], text: bytes, tmp_path: Path
) -> None:
    (tmp_path / "params.yaml").write_bytes(text)
    with pytest.raises(UdmlError, match=r"params\.yaml|data\.dvc"):
        reader(tmp_path / "params.yaml")


def test_nobody_reads_yaml_otherwise() -> None:
    own = ROOT / "src" / "udml" / "config" / "yaml_file.py"
    for path in (ROOT / "src" / "udml").rglob("*.py"):
        found = re.search(r"yaml\.(safe_|full_|unsafe_)?load|yaml\.compose|yaml\.parse", path.read_text())
        assert (found is not None) == (path == own), path
