"""What operators ask: which version, is it alive, is it ready, how is it doing."""

from contextlib import suppress

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from udml.errors import StoreLostError
from udml.serving.http import schemas
from udml.serving.http.dependencies import CurrentVersion, ForAnyone, ForReaders, problems
from udml.serving.service.problems import busy, store_lost

router = APIRouter(tags=["operation"])


@router.get("/v1/version", responses=problems())
async def describe_version(service: ForReaders, version: CurrentVersion) -> schemas.VersionAnswer:
    """What serves."""
    searcher, settings = version.searcher, service.settings
    images, columns = await service.run(version, lambda: (len(searcher), searcher.collection.columns()))
    return schemas.VersionAnswer(
        version=version.name,
        model_version=version.model_version,
        revision=searcher.version.revision,
        no_match_below=searcher.no_match_below,
        images=images,
        dim=searcher.embedder.card.embedding_dim,
        columns=[schemas.FilterColumn(name=name, kind=kind) for name, kind in columns.items()],
        writes="open" if settings.open_writes else "off" if settings.keys is None else "key",
        refused=service.versions.refused,
    )


@router.get("/healthz", responses=problems())
async def alive() -> schemas.Health:
    """Whether the process answers."""
    return schemas.Health(status="ok")


@router.get("/readyz", responses=problems())
async def ready(service: ForAnyone) -> schemas.Readiness:
    """Whether it can search now; and what was changed, but is not in force since it could not be read."""
    if not service.batcher.alive:
        raise busy("not_ready", "the engine has stopped")
    if service.versions.problem:
        raise store_lost()
    return schemas.Readiness(status="ok", behind=sorted(n for n, w in service.watches.items() if w.behind))


@router.get("/metrics", response_class=Response, responses=problems())
async def metrics(service: ForReaders, version: CurrentVersion) -> Response:
    """Figures for Prometheus."""
    for name, watch in service.watches.items():
        service.metrics.behind.labels(name).set(watch.behind is not None)
    with suppress(StoreLostError):  # `behind` says so; other figures are wanted all the more
        service.metrics.items.set(await service.observe(version, lambda: len(version.searcher)))
    return Response(generate_latest(service.metrics.registry), media_type=CONTENT_TYPE_LATEST)
