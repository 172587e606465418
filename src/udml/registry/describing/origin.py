"""What is known of a version, from its files and the registry's log: its card and page are made of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from udml.config.yaml_file import mapping_at, read_mapping
from udml.files import read_json
from udml.model_card import ModelCard
from udml.registry import store
from udml.registry.bundle import (
    INDEX_DIRECTORY,
    LOCK_FILE,
    METRICS_FILE,
    MODEL_FILE,
    PARAMS_FILE,
    PROTOCOLS_FILE,
    Bundle,
    read_bundle,
)
from udml.registry.signing.check import signature_file

_SWITCHES = ("promote", "rollback")


@dataclass(frozen=True)
class Reign:
    """A time for which a version was the champion.

    Attributes:
        since, until: UTC, ISO 8601; `until` is None while it lasts.
        how: "promote" or "rollback".
        reason: as the log has it.
    """

    since: str
    until: str | None
    how: str
    reason: str


@dataclass(frozen=True)
class Origin:
    """A version and where it came from.

    Attributes:
        bundle: what it is.
        card: what its model says of itself.
        metrics, protocols, params: its figures, how they were measured, its settings.
        stages: of its dvc.lock: command, deps, outs, params of each.
        index: its index.json.
        reigns: when it was the champion.
        events: of the log that are about it.
        signed: whether there is a signature of it; whether that is right, `udml models verify --key` tells.
    """

    bundle: Bundle
    card: ModelCard
    metrics: dict[str, Any]
    protocols: dict[str, Any]
    params: dict[str, Any]
    stages: dict[str, Any]
    index: dict[str, Any]
    reigns: list[Reign]
    events: list[store.Event]
    signed: bool


def read_origin(models: Path, name: str) -> Origin:
    """Read a version.

    Raises:
        UdmlError: if there is no such version, or it is damaged.
    """
    from udml.search.embedder import Embedder

    directory = store.version_directory(models, name)
    told = store.events(models)
    protocols = directory / PROTOCOLS_FILE
    return Origin(
        bundle=read_bundle(directory),
        card=Embedder(directory / MODEL_FILE).card,
        metrics=read_json(directory / METRICS_FILE),
        protocols=read_json(protocols) if protocols.exists() else {},
        params=read_mapping(directory / PARAMS_FILE),
        stages=mapping_at(read_mapping(directory / LOCK_FILE), "stages"),
        index=read_json(directory / INDEX_DIRECTORY / "index.json"),
        reigns=list(reigns(told, directory.name)),
        events=[event for event in told if event["version"] == directory.name],
        signed=signature_file(models, directory.name).exists(),
    )


def reigns(told: list[store.Event], name: str) -> Iterator[Reign]:
    """When a version was the champion, by the log.

    A switch that was undone never took effect: a process was killed between its line in the log and the link.
    """
    switches: list[store.Event] = []
    for event in told:
        if event["event"] == "undone":
            switches.pop()
        elif event["event"] in _SWITCHES:
            switches.append(event)
    for event, following in zip(switches, [*switches[1:], None], strict=True):
        if event["version"] == name:
            until = None if following is None else following.get("time")
            yield Reign(event.get("time", ""), until, event["event"], event.get("reason", ""))


def imported(stages: dict[str, Any]) -> list[dict[str, Any]]:
    """The entry of the imported images in a dvc.lock's stages; none where it has no such."""
    deps = mapping_at(stages, "prepare").get("deps") or ()
    return [dep for dep in deps if isinstance(dep, dict) and dep.get("path") == "data"]


def hash_of(entry: dict[str, Any]) -> str:
    """Kind and digits of the hash of an entry of a dvc.lock."""
    kind = entry.get("hash", "md5")
    return f"{kind} {entry.get(kind, 'unknown')}"
