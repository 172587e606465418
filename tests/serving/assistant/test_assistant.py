"""The tools through the official client: in this process, and over the standard streams of a real one."""

import asyncio
import base64
import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters
from PIL import Image

from tests.pipeline import environment
from tests.serving.live import make_version
from tests.serving.small_service import BASE
from udml.registry import store
from udml.serving.assistant import given
from udml.serving.assistant.library import Library
from udml.serving.assistant.server import make_server

Call = Callable[..., Any]


@pytest.fixture
def folder(registry: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace; pictures in `allowed`, others and a link to them outside."""
    (registry / "allowed").mkdir()
    (registry / "secret").mkdir()
    (registry / "allowed" / "q.png").write_bytes(BASE[3][1])
    (registry / "secret" / "q.png").write_bytes(BASE[3][1])
    (registry / "allowed" / "link.png").symlink_to(registry / "secret" / "q.png")
    (registry / "allowed-not").mkdir()
    (registry / "allowed-not" / "q.png").write_bytes(BASE[3][1])
    monkeypatch.chdir(registry)
    return registry


@pytest.fixture
def call(folder: Path) -> Call:
    """Calls one tool; returns the JSON, the pictures, or the sentence of an error."""
    library = Library(None, [(folder / "allowed").resolve()])

    def one(tool: str, **arguments: Any) -> Any:
        async def ask() -> Any:
            async with Client(make_server(library)) as client:
                return await client.call_tool(tool, arguments)

        return unpacked(asyncio.run(ask()))

    return one


def unpacked(answer: Any) -> Any:
    first, *rest = answer.content
    if answer.is_error:
        return first.text
    return json.loads(first.text), [base64.b64decode(one.data) for one in rest]


def sources(told: dict[str, Any]) -> list[str]:
    return [one["source"] for one in told["neighbours"]]


def test_a_search_by_picture_by_id_and_by_group(call: Call, folder: Path) -> None:
    told, pictures = call("search_by_picture", path=str(folder / "allowed" / "q.png"), k=3, thumbnails=2)
    assert sources(told)[0] == BASE[3][0]
    assert told["neighbours"][0]["similarity"] == pytest.approx(1, abs=1e-3)
    assert len(told["neighbours"]) == 3
    assert len(pictures) == 2
    for picture in pictures:
        opened = Image.open(io.BytesIO(picture))
        assert opened.format == "JPEG"
        assert max(opened.size) <= 256
    encoded = base64.b64encode(BASE[3][1]).decode()
    for sent in (encoded, f"data:image/png;base64,{encoded}"):
        assert call("search_by_picture", base64=sent, k=3)[0] == told
    near = told["neighbours"][0]
    by_id, _ = call("search_by_id", id=near["id"], k=2)
    assert near["source"] not in sources(by_id)
    groups, _ = call("list_groups")
    assert groups["images"] == len(BASE) == sum(one["images"] for one in groups["groups"])
    shown, thumbnails = call("show_group", group=0, limit=2, thumbnails=12)
    assert len(shown["items"]) == len(thumbnails) == 2
    assert shown["items"][0] == groups["groups"][0]["examples"][0]
    item, [picture] = call("show_image", id=near["id"])
    assert item["source"] == near["source"]
    assert picture == pictures[0]
    assert call("describe_collection")[0]["images"] == len(BASE)


@pytest.mark.parametrize(
    "path",
    ["secret/q.png", "allowed/../secret/q.png", "allowed/link.png", "allowed-not/q.png", "secret/nothing.png",
     "/etc/passwd", "keys.json", "~/x.png", "nul\0byte.png"],
)  # fmt: skip
def test_paths_outside_what_is_allowed_are_refused(path: str, call: Call) -> None:
    said = call("search_by_picture", path=path)
    assert "this path may not be read" in said
    assert "--allow" in said


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({}, "give one of path and base64"),
        ({"path": "allowed/q.png", "base64": "aGVsbG8="}, "give one of path and base64"),
        ({"path": "allowed/nothing.png"}, "can't be read"),
        ({"path": "allowed"}, "is not a file"),
        ({"path": "allowed/pipe"}, "is not a file"),
        ({"base64": "%%%"}, "is not base64"),
        ({"base64": "aGVsbG8="}, "not an image"),
        ({"base64": "A" * 5000}, "has over"),
        ({"path": "allowed/q.png", "k": 51}, "ask for 1 to 50"),
        ({"path": "allowed/q.png", "k": 0}, "ask for 1 to 50"),
        ({"path": "allowed/q.png", "where": "label ="}, "the filter"),
    ],
)
def test_what_makes_no_search_is_told(
    arguments: dict[str, Any], why: str, call: Call, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "AAAA" in arguments.get("base64", ""):
        monkeypatch.setattr(given, "MAX_BYTES", 1000)
    os.mkfifo(folder / "allowed" / "pipe")
    assert why in call("search_by_picture", **arguments)


def test_ids_and_groups_that_are_not_there(call: Call) -> None:
    assert "16 hex digits" in call("search_by_id", id="1")
    assert "no image" in call("search_by_id", id="0" * 16)
    assert "there is no group 999" in call("show_group", group=999)


def test_it_follows_the_champion(call: Call, folder: Path) -> None:
    assert call("describe_collection")[0]["version"] == "v1"
    make_version(folder, BASE[:5], seed=7)
    told = call("describe_collection")[0]
    assert (told["version"], told["images"]) == ("v2", 5)
    store.rollback(folder / "models", "")
    assert call("describe_collection")[0]["version"] == "v1"


def test_a_real_server_over_its_standard_streams(folder: Path) -> None:
    command = ["-m", "udml", "mcp", "--workspace", str(folder), "--allow", str(folder / "allowed")]
    started = StdioServerParameters(command=sys.executable, args=command, env=environment(), cwd="/")

    async def ask() -> Any:
        async with Client(started) as client:
            tools = (await client.list_tools()).tools
            arguments = {"path": str(folder / "allowed" / "q.png"), "k": 2}
            return tools, await client.call_tool("search_by_picture", arguments)

    tools, answer = asyncio.run(ask())
    assert len(tools) == 6
    assert all(tool.annotations.read_only_hint for tool in tools)
    assert sources(unpacked(answer)[0])[0] == BASE[3][0]
