import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from udml.data.shards import ShardWriter, member_name, read_bytes, shard_path
from udml.errors import UdmlError


def write(root: Path, files: list[bytes], **limits: int) -> list[tuple[int, int]]:
    with ShardWriter(root, **limits) as writer:
        return [writer.add(number, f"folder/{number}.JPG", data) for number, data in enumerate(files)]


@settings(max_examples=30, deadline=None)
@given(
    files=st.lists(st.binary(min_size=1, max_size=2000), min_size=1, max_size=12), max_files=st.integers(1, 5)
)
def test_bytes_come_back_and_tar_agrees(
    files: list[bytes], max_files: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("shards")
    places = write(root, files, max_bytes=6000, max_files=max_files)
    for data, (shard, offset) in zip(files, places, strict=True):
        assert read_bytes(root, shard, offset, len(data)) == data
    unpacked: list[bytes] = []
    for shard in range(places[-1][0] + 1):
        path = shard_path(root, shard)
        with tarfile.open(path) as tar:
            members = tar.getmembers()
            unpacked += [tar.extractfile(member).read() for member in members]  # type: ignore[union-attr]
        assert 1 <= len(members) <= max_files
        assert path.stat().st_size <= 6000
        assert {(member.mtime, member.uid, member.gid, member.uname) for member in members} == {(0, 0, 0, "")}
    assert unpacked == files


def test_equal_input_gives_equal_bytes(tmp_path: Path) -> None:
    files = [b"a" * 700, b"b" * 512, b"c"]
    write(tmp_path / "one", files)
    write(tmp_path / "two", files)
    assert shard_path(tmp_path / "one", 0).read_bytes() == shard_path(tmp_path / "two", 0).read_bytes()


def test_a_file_larger_than_a_shard_gets_its_own(tmp_path: Path) -> None:
    places = write(tmp_path, [b"a", b"b" * 5000, b"c"], max_bytes=3000)
    assert [shard for shard, _ in places] == [0, 1, 2]
    assert read_bytes(tmp_path, 1, places[1][1], 5000) == b"b" * 5000


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("a/b.JPG", "0000000000000007.jpg"),
        ("../../etc/passwd", "0000000000000007"),
        ("no suffix", "0000000000000007"),
        ("line\nbreak.png", "0000000000000007.png"),
        ("x.w%/eird", "0000000000000007"),
        ("ünï.code.jpeg", "0000000000000007.jpeg"),
    ],
)
def test_member_names_are_safe(source: str, name: str) -> None:
    assert member_name(7, source) == name


def test_missing_and_short_shards_are_clear_errors(tmp_path: Path) -> None:
    with pytest.raises(UdmlError, match="dvc pull"):
        read_bytes(tmp_path, 0, 512, 1)
    [(_, offset)] = write(tmp_path, [b"abc"])
    with pytest.raises(UdmlError, match="shorter than the manifest"):
        read_bytes(tmp_path, 0, offset, 10_000)
