"""What Prometheus may ask for. One registry per service, so that two can live in one process."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

_STAGE_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_BATCH_BUCKETS = (1, 2, 4, 8, 16, 32)


class Metrics:
    """The service's figures.

    Attributes:
        requests: answers, by route and status.
        stage_seconds: time in each stage: read, decode, wait, embed, search, thumbnail, add, remove, total.
        batch_images: images that were embedded together.
        waiting: images that wait for decoding or embedding, now.
        uploading_bytes: room set aside for bodies that are being read, now.
        thumbnails: looked up in the cache, by result: hit or miss.
        items: images that can be found, now.
        version: 1 for the version that serves.
        behind: 1 where a change of the keys or the champion could not be read yet, else 0.
        switches: to another version, by result: done or refused.
    """

    def __init__(self) -> None:
        r = self.registry = CollectorRegistry()
        ProcessCollector(registry=r)
        self.requests = Counter("udml_requests", "Answers", ["route", "status"], registry=r)
        self.stage_seconds = Histogram(
            "udml_stage_seconds", "Time in a stage", ["stage"], buckets=_STAGE_BUCKETS, registry=r
        )
        self.batch_images = Histogram(
            "udml_batch_images", "Images embedded together", buckets=_BATCH_BUCKETS, registry=r
        )
        self.waiting = Gauge("udml_waiting_images", "Images that wait", registry=r)
        self.uploading_bytes = Gauge("udml_uploading_bytes", "Room for bodies being read", registry=r)
        self.thumbnails = Counter("udml_thumbnail_cache", "Thumbnails looked up", ["result"], registry=r)
        self.items = Gauge("udml_items", "Images that can be found", registry=r)
        self.version = Gauge("udml_version", "What serves", ["version", "model_version"], registry=r)
        self.behind = Gauge("udml_behind", "A change that could not be read yet", ["what"], registry=r)
        self.switches = Counter("udml_switches", "Switches of the version", ["result"], registry=r)
