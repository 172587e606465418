"""The tools of `udml mcp` take the filter, too."""

import pytest

from tests.serving.filtering.conftest import sources
from tests.serving.small_service import BASE
from udml.errors import UdmlError
from udml.serving.assistant.library import Library

WHERE = "folder = '2021/*' and number > 4"


@pytest.fixture
def library(registry, monkeypatch):
    monkeypatch.chdir(registry)
    opened = Library(None, [registry])
    yield opened
    opened.close()


def found(answer):
    return {one["source"] for one in answer[0]["neighbours"]}


def test_only_what_meets_the_filter_is_told(library, registry):
    left = sources(lambda one: one["folder"].startswith("2021/") and one["number"] > 4)
    assert 0 < len(left) < len(BASE)
    (registry / "asked.png").write_bytes(BASE[0][1])
    everything = library.like_picture("asked.png", None, 50, None)
    assert left < found(everything)
    assert found(library.like_picture("asked.png", None, 50, WHERE)) == left
    own = next(one["id"] for one in everything[0]["neighbours"] if one["source"] in left)
    assert len(found(library.like_item(own, 50, WHERE))) == len(left) - 1
    assert found(library.like_item(own, 50, WHERE)) < left


@pytest.mark.parametrize("where", ["number >", "owner = 'me'", "number > 'x'"])
def test_a_wrong_filter_is_a_sentence(library, where):
    with pytest.raises(UdmlError, match="the filter"):
        library.like_item(library.groups()[0]["groups"][0]["examples"][0]["id"], 5, where)
