import os
import stat
from concurrent.futures import ThreadPoolExecutor

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


@pytest.mark.parametrize(
    "content", ["", "[]", '{"anna": 1}', '{"anna": "abc"}', "not json", "[" * 5_000, '{"a":' * 5_000]
)
def test_a_damaged_file_is_refused(tmp_path, content):
    (tmp_path / "keys.json").write_text(content)
    with pytest.raises(UdmlError, match="not a file of keys"):
        keys.read_keys(tmp_path / "keys.json")


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda path: os.symlink("/dev/zero", path)])
def test_what_is_no_file_is_refused_at_once(tmp_path, make):
    make(tmp_path / "keys.json")
    for use in (keys.read_keys, lambda path: keys.add_key(path, "anna")):
        with pytest.raises(UdmlError, match="not a file"):
            use(tmp_path / "keys.json")


def test_keys_that_are_made_and_removed_at_once_are_all_made_and_removed(tmp_path):
    path = tmp_path / "keys.json"
    for round_number in range(40):
        with ThreadPoolExecutor(8) as threads:
            before = list(keys.read_keys(path)) if path.exists() else []
            removed = [threads.submit(keys.remove_key, path, name) for name in before]
            made = [threads.submit(keys.add_key, path, f"{round_number}-{n}") for n in range(4)]
            for one in [*removed, *made]:
                one.result()
        assert sorted(keys.read_keys(path)) == [f"{round_number}-{n}" for n in range(4)]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o660])
def test_the_file_keeps_its_mode_and_owner_and_a_link_stays_one(tmp_path, mode):
    (tmp_path / "there").mkdir()
    real, link = tmp_path / "there" / "real.json", tmp_path / "keys.json"
    link.symlink_to("there/real.json")
    keys.add_key(link, "anna")
    real.chmod(mode)
    owner = (1234, 4321) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
    os.chown(real, *owner)
    keys.add_key(link, "ben")
    keys.remove_key(link, "anna")
    facts = real.stat()
    assert (stat.S_IMODE(facts.st_mode), (facts.st_uid, facts.st_gid)) == (mode, owner)
    assert link.is_symlink()
    assert list(keys.read_keys(link)) == ["ben"]
