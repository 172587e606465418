import stat

import pytest

from udml.cli import main
from udml.errors import UdmlError
from udml.serving.http import keys


def test_a_key_is_kept_as_its_hash_only(tmp_path):
    path = tmp_path / "keys.json"
    key = keys.add_key(path, "anna")
    assert key not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    other = keys.add_key(path, "ben")
    assert other != key
    known = keys.read_keys(path)
    assert keys.owner(known, key) == "anna"
    assert keys.owner(known, other) == "ben"
    for wrong in ("", key[:-1], key + "x", known["anna"], "ключ", "\udce9"):
        assert keys.owner(known, wrong) is None


def test_keys_are_added_listed_and_removed_by_command(tmp_path, capsys):
    file = ["--file", str(tmp_path / "keys.json")]
    assert main(["keys", "add", "anna", *file]) == 0
    key = capsys.readouterr().out.strip()
    assert main(["keys", "add", "anna", *file]) == 1
    assert main(["keys", "list", *file]) == 0
    assert capsys.readouterr().out.strip() == "anna"
    assert main(["keys", "remove", "anna", *file]) == 0
    assert main(["keys", "remove", "anna", *file]) == 1
    assert keys.owner(keys.read_keys(tmp_path / "keys.json"), key) is None


@pytest.mark.parametrize("content", ["", "[]", '{"anna": 1}', '{"anna": "abc"}', "not json"])
def test_a_damaged_file_is_refused(tmp_path, content):
    (tmp_path / "keys.json").write_text(content)
    with pytest.raises(UdmlError, match="not a file of keys"):
        keys.read_keys(tmp_path / "keys.json")
