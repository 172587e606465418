"""What the tools answer, as plain values: searches, groups and thumbnails of what is the champion now."""

import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from udml import paths
from udml.errors import UdmlError
from udml.pixels import SERVICE, Undecodable
from udml.registry.chosen import choose
from udml.serving.assistant.given import read_picture
from udml.serving.engine.answers import Hit
from udml.serving.engine.searcher import Searcher
from udml.serving.service.clusters import Clusters, group_collection
from udml.text import printable

MAX_K = 50
MAX_THUMBNAILS = 12
MAX_GROUP_ITEMS = 100
THUMBNAIL_PX = 256
_MAX_PIXELS = 50_000_000
_EXAMPLES = 3  # of each group
Answer = tuple[dict[str, Any], list[int]]  # what is told, and the images it is about


class Library:
    """The collection that is searched; follows the champion. May be used from several threads.

    Args:
        version: as for `choose`; None follows the champion.
        allowed: folders that pictures may be read from, links resolved.
    """

    def __init__(self, version: str | None, allowed: Sequence[Path]) -> None:
        self._version = version
        self._allowed = allowed
        self._lock = threading.Lock()
        self._name = ""
        self._searcher: Searcher | None = None
        self._groups: tuple[tuple[str, int], Clusters] | None = None
        with self._lock:
            self._open()

    def describe(self) -> dict[str, Any]:
        """What is searched, and with what."""
        with self._lock:
            searcher = self._open()
            return {
                "version": searcher.version.name,
                "images": len(searcher),
                "no_match_below": searcher.no_match_below,
                "pictures_may_be_read_from": [str(one) for one in self._allowed],
            }

    def like_picture(self, path: str | None, encoded: str | None, k: int, where: str | None) -> Answer:
        """What is most like a picture that is named, or sent, among what a filter leaves."""
        data = read_picture(path, encoded, self._allowed)
        with self._lock:
            searcher = self._open()
            try:
                pixels = searcher.decode(data, _MAX_PIXELS, None, SERVICE)
            except Undecodable as error:
                raise UdmlError(f"{error.reason.sentence}: {error.detail}", "send another picture") from error
            query = searcher.embed_images([pixels])
            hits = searcher.neighbours(query, _bounded(k, MAX_K), where=where)[0]
            return self._told(searcher, hits)

    def like_item(self, image_id: str, k: int, where: str | None) -> Answer:
        """What is most like an image of the collection, among what a filter leaves."""
        with self._lock:
            searcher = self._open()
            hits = searcher.neighbours_of(_number(image_id), _bounded(k, MAX_K), where=where)
            return self._told(searcher, hits)

    def groups(self) -> Answer:
        """The collection in groups that look alike, largest first, a few examples of each."""
        with self._lock:
            searcher = self._open()
            found = self._grouped(searcher)
            some = [[int(one) for one in ids[:_EXAMPLES]] for ids in found.groups]
            told = [
                {"group": number, "images": len(ids), "examples": [_item(searcher, one) for one in shown]}
                for number, (ids, shown) in enumerate(zip(found.groups, some, strict=True))
            ]
            named = {"version": searcher.version.name, "images": found.images, "grouped": found.grouped}
            return named | {"groups": told}, [shown[0] for shown in some]

    def group(self, number: int, offset: int, limit: int) -> Answer:
        """A stretch of one group, the most typical images first."""
        with self._lock:
            searcher = self._open()
            found = self._grouped(searcher)
            if not 0 <= number < len(found.groups):
                raise UdmlError(f"there is no group {number}", f"there are 0 to {len(found.groups) - 1}")
            start = max(0, offset)
            ids = found.groups[number][start : start + _bounded(limit, MAX_GROUP_ITEMS)].tolist()
            told = {"version": searcher.version.name, "group": number, "images": len(found.groups[number])}
            return told | {"offset": start, "items": [_item(searcher, one) for one in ids]}, ids

    def item(self, image_id: str) -> Answer:
        """What is known of an image of the collection."""
        with self._lock:
            searcher = self._open()
            number = _number(image_id)
            return {"version": searcher.version.name} | _item(searcher, number), [number]

    def thumbnails(self, image_ids: Sequence[int], most: int) -> list[bytes]:
        """JPEGs of these images, as many as are wanted; one whose original is not here is left out."""
        found = []
        with self._lock:
            searcher = self._open()
            for one in image_ids[: max(0, min(most, MAX_THUMBNAILS))]:
                with suppress(UdmlError, Undecodable):
                    found.append(searcher.thumbnail(one, THUMBNAIL_PX))
        return found

    def close(self) -> None:
        """Let go of files and threads."""
        with self._lock:
            if self._searcher is not None:
                self._searcher.close()

    def _open(self) -> Searcher:
        """What serves now; another champion is opened before the old one goes: a bad one changes nothing."""
        chosen = choose(self._version)
        if self._searcher is None or chosen.name != self._name:
            opened = Searcher.open(chosen, paths.DATA)
            if self._searcher is not None:
                self._searcher.close()
            self._searcher, self._name, self._groups = opened, chosen.name, None
        return self._searcher

    def _grouped(self, searcher: Searcher) -> Clusters:
        key = (self._name, searcher.version.revision)
        if self._groups is None or self._groups[0] != key:
            self._groups = (key, group_collection(searcher))
        return self._groups[1]

    def _told(self, searcher: Searcher, hits: Sequence[Hit]) -> Answer:
        told = {"version": searcher.version.name, "no_match_below": searcher.no_match_below}
        found = [
            _named(hit.image_id, hit.source, hit.label) | {"similarity": round(hit.similarity, 4)}
            for hit in hits
        ]
        return told | {"neighbours": found}, [hit.image_id for hit in hits]


def _item(searcher: Searcher, image_id: int) -> dict[str, Any]:
    item = searcher.item(image_id)
    return _named(image_id, item.source, item.label)


def _named(image_id: int, source: str, label: str | None) -> dict[str, Any]:
    known = {"id": f"{image_id:016x}", "source": printable(source)}
    return known | ({} if label is None else {"label": printable(label)})


def _number(image_id: str) -> int:
    try:
        if len(image_id) != 16:
            raise ValueError
        return int(image_id, 16)
    except ValueError as error:
        raise UdmlError("an id has 16 hex digits", "take one from an earlier answer") from error


def _bounded(value: int, most: int) -> int:
    if not 1 <= value <= most:
        raise UdmlError(f"{value} were asked for", f"ask for 1 to {most}")
    return value
