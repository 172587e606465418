"""Thumbnails that were made lately, kept up to a number of bytes."""

import threading
from collections import OrderedDict
from collections.abc import Callable

from udml.serving.service.metrics import Metrics

_MAX_BYTES = 64 * 2**20
Key = tuple[str, int, int]  # version, image_id, side_px


class ThumbnailCache:
    """The least recently used ones go first. May be used from several threads."""

    def __init__(self, metrics: Metrics, max_bytes: int = _MAX_BYTES) -> None:
        self._kept: OrderedDict[Key, bytes] = OrderedDict()
        self._bytes = 0
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._metrics = metrics

    def get(self, key: Key, make: Callable[[], bytes]) -> bytes:
        """What is kept under `key`, else what `make` makes, which is then kept."""
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
        self._metrics.thumbnails.labels("miss" if found is None else "hit").inc()
        if found is None:
            with self._metrics.stage_seconds.labels("thumbnail").time():
                found = make()
            self._keep(key, found)
        return found

    def clear(self) -> None:
        """Forget everything: an id may stand for another picture now."""
        with self._lock:
            self._kept.clear()
            self._bytes = 0

    def _keep(self, key: Key, thumbnail: bytes) -> None:
        with self._lock:
            self._bytes += len(thumbnail) - len(self._kept.pop(key, b""))
            self._kept[key] = thumbnail
            while self._bytes > self._max_bytes:
                self._bytes -= len(self._kept.popitem(last=False)[1])
