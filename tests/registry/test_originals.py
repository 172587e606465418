"""Pictures of a version go on being shown whatever is imported after it."""

import io
import shutil

import pytest
from PIL import Image

from tests.serving.live import files, make_version
from tests.serving.small_service import BASE, client, problem
from udml import Searcher
from udml.collection.outcome import GoneError
from udml.data.identity import image_id
from udml.data.importing.importer import import_data
from udml.data.importing.manifest import read_manifest
from udml.registry import store
from udml.registry.originals import keep_originals


@pytest.fixture
def imported(tmp_path, monkeypatch):
    """A project whose version v1 shows BASE, which was imported from photos/."""
    make_version(tmp_path, BASE)
    monkeypatch.chdir(tmp_path)
    for source, data, _ in BASE:
        (tmp_path / "photos" / source).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / source).write_bytes(data)
    again(tmp_path)
    return tmp_path


def again(root, **kept):
    return import_data(root / "photos", "plain", root / "data", **kept)


def shown(root):
    """How many originals of BASE are what they were."""
    with Searcher.open(root / "models" / "champion", root / "data", 1) as searcher:
        count = 0
        for source, data, _ in BASE:
            try:
                assert searcher.image_bytes(image_id(source)) == data
                count += 1
            except GoneError:
                pass
        return count


@pytest.mark.parametrize("change", ["the same", "more before", "renamed", "fewer shards"])
def test_an_original_is_found_by_its_content(imported, change):
    photos = imported / "photos"
    if change == "more before":
        for source, data, _ in files(7, seed=3, prefix="a"):
            (photos / source).parent.mkdir(exist_ok=True)
            (photos / source).write_bytes(data)
    if change == "renamed":
        (photos / "base").rename(photos / "zebra")
    again(imported)
    if change == "fewer shards":
        shutil.copy(imported / "data/shards/000000.tar", imported / "data/shards/000001.tar")
        (imported / "data/shards/000000.tar").write_bytes(b"damaged")
    assert shown(imported) == len(BASE)


def test_what_is_really_gone_is_a_410_and_the_rest_goes_on(imported):
    for source, _, _ in BASE[:3]:
        (imported / "photos" / source).unlink()
    with client(imported) as http:
        again(imported)
        for number, (source, _, _) in enumerate(BASE[:6]):
            answer = http.get(f"/v1/items/{image_id(source):016x}/image")
            if number < 3:
                assert "holds another import now" in problem(answer, 410, "gone")
            else:
                Image.open(io.BytesIO(answer.content)).verify()


def test_an_import_keeps_what_registered_versions_show(imported):
    # as if v1 had been made from this import
    version = imported / "models" / "versions" / "v1"
    from udml.files import read_json, write_json

    facts = {k.decode(): v.decode() for k, v in read_manifest(imported / "data").schema.metadata.items()}
    for path in (version, version / "bundle.json"):
        path.chmod(0o755)
    told = read_json(version / "bundle.json")
    write_json(version / "bundle.json", told | {"data_version": facts["data_version"]})
    (imported / "models" / "log.jsonl").unlink()
    store.promote(imported / "models", "v1", "")

    def keep(old, new):
        return keep_originals(imported / "models", old, new)

    (imported / "photos" / "more.png").write_bytes(files(1, seed=4)[0][1])
    assert not any("keeps" in line for line in again(imported, before_replacing=keep).remarks)  # all is there
    (imported / "photos" / "more.png").unlink()
    again(imported)
    shutil.rmtree(imported / "photos" / "base")
    (imported / "photos" / "other.png").write_bytes(files(1, seed=5)[0][1])
    [line] = [line for line in again(imported, before_replacing=keep).remarks if "keeps" in line]
    assert "v1" in line
    assert shown(imported) == len(BASE)
