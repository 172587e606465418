"""Cards, pages of lineage and comments: they say what is so, and nothing foreign breaks out of them."""

import html.parser
from pathlib import Path

import pytest

from tests.registry.workspace import make_sources
from udml.cli import main
from udml.files import write_json
from udml.registry import store
from udml.registry.challenge import Challenge
from udml.registry.describing.comment import as_comment
from udml.registry.describing.origin import reigns

MODELS = Path("models")
LOCK = """schema: '2.0'
stages:
  prepare:
    cmd: udml prepare
    deps:
    - {path: data, hash: md5, md5: abc.dir, size: 7000, nfiles: 30}
    - {path: src/udml/pixels.py, hash: md5, md5: 0123}
    outs:
    - {path: artifacts/prepare, hash: md5, md5: 4567.dir}
"""
FIGURES = {
    "trained": {"leave_one_out": {"recall_at_1": 0.7, "map_at_r": 0.412}},
    "frozen": {"leave_one_out": {"recall_at_1": 0.6, "map_at_r": 0.3}},
    "difference": {"leave_one_out": {"map_at_r": 0.112, "map_at_r_low": 0.08, "map_at_r_high": 0.14}},
}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three versions; v1 was the champion twice, and v3 never."""
    root = tmp_path_factory.mktemp("described")
    for seed in range(3):
        made = root / f"made-{seed}"
        made.mkdir()
        sources = make_sources(made, seed)
        write_json(sources.metrics, FIGURES)
        sources.lock.write_text(LOCK)
        store.register(root / "models", sources, "abc1234567890")
    store.promote(root / "models", "v1", "the | first <script>alert(1)</script>")
    store.promote(root / "models", "v2", "better")
    store.rollback(root / "models", "not so good")
    return root


def said(capsys: pytest.CaptureFixture[str], *command: str) -> str:
    assert main(["models", *command]) == 0
    return capsys.readouterr().out


def test_a_card_says_what_a_version_is(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(workspace)
    card = said(capsys, "card", "v1")
    for heading in (
        "Model",
        "Training",
        "Figures",
        "Limits",
        "Licence",
        "Where it served",
        "To reproduce it",
    ):
        assert f"\n## {heading}" in card
    assert "| MAP@R | 30.0 | 41.2 | +11.2 (+8.0 to +14.0) |" in card
    assert "md5 abc.dir" in card
    assert "Of the weights it started from: " in card
    assert "the \\| first &lt;script>" in card
    assert card.count("| promote |") == card.count("| rollback |") == 1
    assert "It has not been the champion" in said(capsys, "card", "v3")
    columns = {len(line.replace("\\|", "").split("|")) for line in card.splitlines() if line[:6] == "| MAP@"}
    assert columns == {6}


class _Page(html.parser.HTMLParser):
    """What a page would load or run."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            if name in ("src", "href") and value and not value.startswith("#"):
                self.loads.append(value)


def test_a_page_of_lineage_is_whole_in_itself(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(workspace)
    assert "v1-lineage.html" in said(capsys, "show", "v1", "--lineage")
    said(capsys, "show", "v1", "--lineage", "other.html")
    text = Path("v1-lineage.html").read_text()
    assert Path("other.html").read_text() == text
    page = _Page()
    page.feed(text)
    assert page.loads == []
    assert "script" not in page.tags
    assert "svg" in page.tags
    for wanted in (
        "md5 abc.dir",
        "md5 4567.dir",
        "src/udml/pixels.py",
        "abc123456789",
        "train.seed",
        "model-0",
    ):
        assert wanted in text
    assert "not so good" in text
    assert ">now<" in text


def test_reigns_follow_the_log() -> None:
    def event(time: str, kind: str, version: str) -> dict[str, str]:
        return {"time": time, "event": kind, "version": version, "reason": kind}

    told = [
        event("1", "register", "v1"),
        event("2", "promote", "v1"),
        event("3", "promote", "v2"),
        event("4", "undone", "v2"),
        event("5", "refuse", "v3"),
        event("6", "promote", "v4"),
        event("7", "rollback", "v1"),
    ]
    found = {
        name: [(one.since, one.until) for one in reigns(told, name)] for name in ("v1", "v2", "v3", "v4")
    }
    assert found == {"v1": [("2", "6"), ("7", None)], "v2": [], "v3": [], "v4": [("6", "7")]}


@pytest.mark.parametrize("promote", [True, False])
def test_a_comment_has_the_table_and_the_reason(promote: bool) -> None:
    rows = [
        {"figure": "MAP@R", "frozen backbone": "30.0", "champion v1": "40.0", "challenger": "41.0"},
        {"figure": "effective rank", "frozen backbone": "9.0", "challenger": "8.0"},
    ]
    comment = as_comment(Challenge("v1", promote, "because <b>", {}, rows))
    assert f"would be {'promoted' if promote else 'refused'} (against champion v1)" in comment
    assert "| figure | frozen backbone | champion v1 | challenger |" in comment
    assert "| effective rank | 9.0 |  | 8.0 |" in comment
    assert "because &lt;b>" in comment
