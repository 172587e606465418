"""Versions copied to an MLflow server, or a folder or database of one: a run and a model version each."""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from udml.errors import UdmlError, install_hint
from udml.registry import store
from udml.registry.bundle import Bundle
from udml.registry.compare import leaves
from udml.registry.describing.card import make_card
from udml.registry.describing.origin import Origin, read_origin

if TYPE_CHECKING:
    from mlflow import MlflowClient

MODEL = "udml-embedding"  # of MLflow's registry of models
CHAMPION = "champion"  # alias of its version
_SQLITE = "sqlite:///"
_IDENTITY = "udml.manifest"
_MOST_LETTERS = 500  # of a parameter
_NOT_COPIED = ("index/",)  # large, and of no use without udml


def export(models: Path, names: list[str], uri: str, experiment: str) -> list[str]:
    """Copy versions that are not there yet; all of them if none is named. Returns whose.

    Args:
        models: the registry's directory.
        names: "v1", "v2", ...
        uri: of MLflow: http(s)://, sqlite:///, file:, or a folder.
        experiment: its name there.

    Raises:
        UdmlError: if there is no such version, MLflow is missing, or it refuses.
    """
    wanted = [store.version_directory(models, name).name for name in names or store.version_names(models)]
    origins = {name: read_origin(models, name) for name in wanted}  # damaged ones are told first
    client = _client(uri)
    from mlflow.exceptions import MlflowException

    try:
        place = _experiment(client, experiment, uri)
        copied = [name for name in wanted if _copy(client, place, models, name, origins[name])]
        _point_to_champion(client, store.champion_name(models))
    except (MlflowException, OSError) as error:
        said = str(error).splitlines()[0][:300]
        raise UdmlError(f"MLflow at {uri} refused: {said}", "check that it can be reached") from error
    return copied


def _client(uri: str) -> "MlflowClient":
    """A client that tells nobody but the one that is named."""
    for name in ("MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK", "MLFLOW_ALLOW_FILE_STORE"):
        os.environ.setdefault(name, "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    try:
        from mlflow import MlflowClient
    except ModuleNotFoundError as error:
        raise UdmlError(f"exporting needs {error.name}", install_hint("mlflow")) from error
    try:
        return MlflowClient(uri, uri)
    except Exception as error:  # several kinds
        hint = "name http(s)://, sqlite:/// or a folder"
        raise UdmlError(f"{uri} is no place of MLflow: {error}", hint) from error


def _experiment(client: "MlflowClient", name: str, uri: str) -> str:
    """Its id; files of a database's experiment lie beside the database, not where this happens to run."""
    found = client.get_experiment_by_name(name)
    if found is not None:
        return found.experiment_id
    beside = None
    if uri.startswith(_SQLITE):
        database = Path(uri.removeprefix(_SQLITE)).absolute()
        beside = database.with_name(f"{database.stem}-files").as_uri()
    return client.create_experiment(name, artifact_location=beside)


def _copy(client: "MlflowClient", place: str, models: Path, name: str, origin: Origin) -> bool:
    """Copy a version, unless it is there as a whole; a run that was cut short is not FINISHED."""
    directory = store.version_directory(models, name)
    bundle = store.verify(models, name)
    identity = origin.bundle.files["model.onnx"].sha256[:16] + f"-{bundle.created}-{name}"
    query = f"tags.`{_IDENTITY}` = '{identity}' and attributes.status = 'FINISHED'"
    if client.search_runs([place], query, max_results=1):
        return False
    run = client.create_run(place, run_name=name, tags={_IDENTITY: identity, **_tags(bundle, origin)})
    number = run.info.run_id
    for key, value in leaves(origin.params):
        client.log_param(number, key, str(value)[:_MOST_LETTERS])
    for key, figure in _figures(origin.metrics):
        client.log_metric(number, key, figure)
    for path in bundle.files:
        if not path.startswith(_NOT_COPIED):
            client.log_artifact(number, str(directory / path))
    client.log_text(number, make_card(models, name), "card.md")
    client.log_text(number, json.dumps(origin.events, indent=2), "log.json")
    _register(client, number, name, bundle)
    client.set_terminated(number)
    return True


def _tags(bundle: Bundle, origin: Origin) -> dict[str, str]:
    known = {
        "version": bundle.name,
        "model_version": bundle.model_version,
        "data_version": bundle.data_version,
        "git_revision": bundle.git_revision,
        "created": bundle.created,
        "images": str(bundle.images),
        "backbone": origin.card.backbone,
        "weights_licence": origin.card.weights_licence,
        "compacted_from": bundle.compacted_from or "",
    }
    return {f"udml.{key}": value for key, value in known.items() if value}


def _figures(metrics: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for key, value in leaves(dict(metrics)):
        if isinstance(value, int | float) and not isinstance(value, bool):
            yield key, float(value)


def _register(client: "MlflowClient", run: str, name: str, bundle: Bundle) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.get_registered_model(MODEL)
    except MlflowException:
        client.create_registered_model(MODEL, description="A retrieval embedding, by udml.")
    source = f"{client.get_run(run).info.artifact_uri}/model.onnx"
    tags = {"udml.version": name, "udml.model_version": bundle.model_version}
    client.create_model_version(MODEL, source, run, tags=tags)


def _point_to_champion(client: "MlflowClient", champion: str | None) -> None:
    """The alias `champion` leads to the version that is it now, if that is there."""
    found = [
        one
        for one in client.search_model_versions(f"name = '{MODEL}'")
        if champion and one.tags.get("udml.version") == champion
    ]
    if found:
        newest = max(found, key=lambda one: int(one.version))
        client.set_registered_model_alias(MODEL, CHAMPION, newest.version)
