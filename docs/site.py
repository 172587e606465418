"""What the site has beside the files of docs/: settings, commands, project pages, and every page a place.

A hook of mkdocs. Links that lead out of docs/, to files of the repository, lead to what stands for them here.
"""

import argparse
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
SETTINGS, COMMANDS = "reference/settings.md", "reference/commands.md"
PROJECT = {
    "CONTRIBUTING.md": "project/contributing.md",
    "CHANGELOG.md": "project/changelog.md",
    "SECURITY.md": "project/security.md",
}
_OUT = re.compile(r"\]\(\.\./([A-Z]+\.md)\)")
_IN = re.compile(r"\]\(docs/([\w/.-]+)\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is made here, and give pages that the navigation does not name a place under "More"."""
    made = {SETTINGS: settings_page(), COMMANDS: commands_page()}
    for source, page in PROJECT.items():
        text = _IN.sub(r"](../\1)", (ROOT / source).read_text())
        for other, its in PROJECT.items():
            text = text.replace(f"]({other})", f"]({Path(its).name})")
        made[page] = text
    for name, text in made.items():
        files.append(File.generated(config, name, content=text))
    named = set(_named(config.nav))
    more = [file.src_uri for file in files.documentation_pages() if file.src_uri not in named]
    if more and config.nav is not None:
        config.nav.append({"More": sorted(more)})
    return files


def on_page_markdown(markdown: str, page: Any, config: MkDocsConfig, files: Files) -> str:
    """Let links to files of the repository lead to the pages that show them."""
    up = "../" * page.file.src_uri.count("/")
    return _OUT.sub(
        lambda found: f"]({up}{PROJECT[found[1]]})" if found[1] in PROJECT else found[0], markdown
    )


def _named(nav: Any) -> Iterator[str]:
    """Every page that a navigation names."""
    if isinstance(nav, str):
        yield nav
    elif isinstance(nav, dict):
        for value in nav.values():
            yield from _named(value)
    else:
        for value in nav or ():
            yield from _named(value)


def settings_page() -> str:
    """`params.yaml` as tables: key, value, and the comment beside it."""
    lines = ["# Settings", "", "What `params.yaml` holds in a new workspace, section by section.", ""]
    for section, rows in _sections((ROOT / "params.yaml").read_text()):
        lines += [f"## {section}", "", "| setting | value | |", "|---|---|---|"]
        lines += [f"| `{section}.{key}` | `{value}` | {said} |" for key, value, said in rows]
        lines.append("")
    return "\n".join(lines)


def _sections(text: str) -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
    """Sections of a params file, each with (key, value, comment) of its settings."""
    values = yaml.safe_load(text)
    for block in re.split(r"\n(?=[a-z_]+:)", text):
        if not (name := re.match(r"([a-z_]+):", block)) or name[1] not in values:
            continue
        rows: list[tuple[str, str, str]] = []
        for line in block.splitlines()[1:]:
            setting = re.match(r"  ([a-z_0-9]+):.*?(?:\s#\s(.*))?$", line)
            if setting:
                value = values[name[1]].get(setting[1])
                shown = "one line a loss" if setting[1] == "losses" else str(value).replace("|", "\\|")
                rows.append((setting[1], shown, (setting[2] or "").replace("|", "\\|")))
            elif rows and (rest := re.match(r"\s+#\s(.*)$", line)):
                rows[-1] = (*rows[-1][:2], f"{rows[-1][2]} {rest[1]}".replace("|", "\\|"))
        yield name[1], rows


def commands_page() -> str:
    """Every command of udml with what `--help` says of it."""
    from udml.cli import _parser

    lines = ["# Commands", "", "What `udml COMMAND --help` says, of every command.", ""]
    for name, parser in _commands(_parser(), "udml"):
        lines += [f"## {name}", "", "```text", parser.format_help().strip(), "```", ""]
    return "\n".join(lines)


def _commands(parser: argparse.ArgumentParser, name: str) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    if parser.get_default("run") is not None:
        yield name, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, one in action.choices.items():
                yield from _commands(one, f"{name} {word}")
