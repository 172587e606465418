"""What people see of a retraining in the Prefect UI, beside its logs."""

import base64
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from prefect import get_run_logger
from prefect.artifacts import create_image_artifact, create_markdown_artifact, create_table_artifact

from udml.data.validation.validate import RESULT_FILE
from udml.files import read_json
from udml.registry.bundle import read_bundle
from udml.registry.challenge import Challenge
from udml.registry.store import champion_name, version_directory


def show_validation(validated: Path) -> None:
    """The verdict on the data, rule by rule; nothing if the stage did not get that far."""
    if not (validated / RESULT_FILE).exists():
        return
    result = read_json(validated / RESULT_FILE)
    verdict = "The data meet every rule." if result["success"] else "**The data break a rule.**"
    lines = [f"# Validation\n\n{verdict} Data version {result['data_version']}.\n"]
    lines += ["| rule | met | rows that do not | first of them |", "|---|---|---|---|"]
    for rule in result["rules"]:
        met = "yes" if rule["met"] else ("**no**" if rule["required"] else "no (reported only)")
        examples = "; ".join(rule["examples"][:3]) if not rule["met"] else ""
        cells = (f"{rule['name']}: {rule['sentence']}", met, f"{rule['failing']:,}", examples)
        lines.append(_row(cells))
    _show(create_markdown_artifact, key="validation", markdown="\n".join(lines))


def show_challenge(judged: Challenge, picture: Path) -> None:
    """The table, the reason, and pictures of changed neighbours."""
    _show(
        create_table_artifact,
        key="champion-against-challenger",
        table=judged.table,
        description="Per cent, effective rank in dimensions; the same test images for all.",
    )
    _show(create_markdown_artifact, key="decision", markdown=f"# Decision\n\n{judged.reason}")
    if picture.exists():
        encoded = base64.b64encode(picture.read_bytes()).decode()
        _show(
            create_image_artifact,
            key="changed-neighbours",
            image_url=f"data:image/jpeg;base64,{encoded}",
            description="Queries (left) whose neighbours changed most. Two lines each: what the champion "
            "finds, and below it what the challenger finds.",
        )


def show_nothing_new(said: str, models: Path) -> None:
    """What a run compared that found nothing to do."""
    lines = [f"# Nothing new\n\n{said[:1].upper()}{said[1:]}.\n"]
    name = champion_name(models)
    if name is not None:
        bundle = read_bundle(version_directory(models, name))
        lines += ["| compared | with those of the champion |", "|---|---|"]
        rows = (
            ("champion", f"{name}, registered {bundle.created}"),
            ("data", f"{bundle.images:,} images, version {bundle.data_version}"),
            ("settings", "`params.yaml`, as the version keeps it"),
            ("code", f"of every stage, by DVC; git revision {bundle.git_revision or 'unknown'}"),
        )
        lines += [_row(row) for row in rows]
    _show(create_markdown_artifact, key="nothing-new", markdown="\n".join(lines))


def show_drift(found: dict[str, Any]) -> None:
    """The verdict on new images, and the strangest of them; `found` is the JSON of `udml monitor`."""
    lines = [f"# Drift\n\n**{found['verdict']}**: {found['summary']}\n"]
    if found["unusual"]:
        lines += [
            "The new images least like the collection:\n",
            "| image | similarity | remarks |",
            "|---|---|---|",
        ]
    for one in found["unusual"]:
        cells = (one["path"], f"{one['similarity']:.2f}", "; ".join(one["remarks"]))
        lines.append(_row(cells))
    _show(create_markdown_artifact, key="drift", markdown="\n".join(lines))


def _row(cells: Sequence[str]) -> str:
    """A row of a Markdown table."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _show(create: Callable[..., Any], **what: Any) -> None:
    """A server that is away must not stop a retraining: what it would have shown is in the log as well."""
    try:
        create(**what)
    except Exception as error:  # Prefect's client raises many kinds
        get_run_logger().warning("the server did not take the artifact %s: %r", what["key"], error)
