"""Requests to Milvus: bounded in time, and one kind of error where it does not answer."""

import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from udml import deadlines
from udml.errors import StoreLostError, UdmlError, install_hint

TOKEN_VARIABLE = "UDML_MILVUS_TOKEN"
AT_ONCE = 500  # rows in one request
MOST_FOUND = 16_384  # rows in one answer: Milvus gives no more
_WAIT_SECONDS = 5.0
_LONG_SECONDS = 600.0  # building an index, loading a collection
_REST_SECONDS = 1.0  # after a failure nobody asks again for so long
_NO_CONNECTION = (2, -1)  # pymilvus's codes
_NOT_FOUND, _NOT_LOADED, _NO_ALIAS = 100, 101, 1600  # Milvus's codes
Row = dict[str, Any]


class Connection:
    """A connection to Milvus; threads may use it at once. It mends itself.

    Attributes:
        uri: `http://host:19530`, with a database behind a slash where it is not the default one; or a
            file that ends in .db, which Milvus Lite opens, for one process. Without name and password.
        problem: why the last request got no answer, a sentence; None where it got one.
    """

    def __init__(self, uri: str) -> None:
        """Nothing is asked yet.

        Raises:
            UdmlError: if pymilvus is not installed.
        """
        try:
            import pymilvus
        except ImportError as error:
            raise UdmlError(f"Milvus needs {error.name}", install_hint("milvus")) from error
        logging.getLogger("pymilvus").setLevel(logging.CRITICAL)  # whoever asks is told what failed
        self._pymilvus = pymilvus
        self._lock = threading.Lock()
        self._client: Any = None
        self._try_at = 0.0
        self._address = uri
        self.uri = re.sub(r"//[^/@]*@", "//", uri)
        self.problem: str | None = None

    def ask(self, method: str, *arguments: Any, long: bool = False, **named: Any) -> Any:
        """What a method of `MilvusClient` returns.

        A collection that was released, as by a restart, is loaded again, and the request repeated.

        Raises:
            StoreLostError: if Milvus does not answer in time, or has failed a moment ago.
        """
        if self.problem is not None and time.monotonic() < self._try_at:
            raise self._lost()
        try:
            try:
                found = self._loaded(method, arguments, named, long)
            except Exception as error:
                if self.problem is not None or not _is_of_connection(error):
                    raise
                self.close()  # a server may end connections at any time: try once more on a new one
                found = self._loaded(method, arguments, named, long)
        except Exception as error:  # of gRPC, of pymilvus, of the system: each has its own
            raise self._failed(error) from error
        self.problem = None
        return found

    def ask_once(self, done: Callable[[], bool], method: str, *arguments: Any, long: bool = False) -> None:
        """`ask` for what is refused the second time, such as a new name.

        Where the first answer was lost, a second request is; `done` then tells whether the first one counted.
        """
        try:
            self.ask(method, *arguments, long=long)
        except StoreLostError:
            if not done():
                raise

    def rename(self, collection: str, name: str) -> None:
        """Give a collection another name."""
        named = collection, name
        self.ask_once(lambda: self._is_called(*named), "rename_collection", *named, long=True)

    def behind(self, alias: str) -> str | None:
        """The collection that an alias stands for; None if there is no such alias."""
        try:
            return self.ask("describe_alias", alias)["collection_name"]
        except StoreLostError as error:
            if getattr(error.__cause__, "code", None) in (_NOT_FOUND, _NO_ALIAS):
                return None
            raise

    def rows(self, collection: str, ids: Sequence[Any], fields: Sequence[str]) -> list[Row]:
        """The rows of these primary keys, those there are, as last written by anybody."""
        found: list[Row] = []
        for start in range(0, len(ids), AT_ONCE):
            some = list(ids[start : start + AT_ONCE])
            found += self.ask(
                "query", collection, ids=some, output_fields=list(fields), consistency_level="Strong"
            )
        return found

    def where(self, collection: str, field: str, values: Sequence[Any], fields: Sequence[str]) -> list[Row]:
        """The rows of which a field has one of these values, at most MOST_FOUND for every AT_ONCE values."""
        found: list[Row] = []
        for start in range(0, len(values), AT_ONCE):
            some = ", ".join(_literal(value) for value in values[start : start + AT_ONCE])
            found += self.ask(
                "query",
                collection,
                filter=f"{field} in [{some}]",
                output_fields=list(fields),
                limit=MOST_FOUND,
                consistency_level="Strong",
            )
        return found

    def every(self, collection: str, condition: str, fields: Sequence[str]) -> Iterator[list[Row]]:
        """All rows that meet a condition, so many at a time."""
        rows = self.ask(
            "query_iterator",
            collection,
            batch_size=AT_ONCE,
            filter=condition,
            output_fields=list(fields),
            consistency_level="Strong",
        )
        try:
            while some := self._next(rows):
                yield some
        finally:
            rows.close()

    def count(self, collection: str) -> int:
        """Rows of a collection."""
        answer = self.ask(
            "query", collection, filter="", output_fields=["count(*)"], consistency_level="Strong"
        )
        return int(answer[0]["count(*)"])

    def close(self) -> None:
        """Close it."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def _is_called(self, collection: str, name: str) -> bool:
        there = self.ask("list_collections")
        return name in there and collection not in there

    def _next(self, rows: Any) -> list[Row]:
        try:
            return list(rows.next())
        except Exception as error:
            raise self._failed(error) from error

    def _loaded(self, method: str, arguments: Sequence[Any], named: Row, long: bool) -> Any:
        try:
            return self._request(method, arguments, named, long)
        except self._pymilvus.MilvusException as error:
            if error.code != _NOT_LOADED:
                raise
            self._request("load_collection", arguments[:1], {}, long=True)
            return self._request(method, arguments, named, long)

    def _request(self, method: str, arguments: Sequence[Any], named: Row, long: bool) -> Any:
        with self._lock:
            if self._client is None:
                token = os.environ.get(TOKEN_VARIABLE, "")
                self._client = self._pymilvus.MilvusClient(self._address, token=token, timeout=_WAIT_SECONDS)
            client = self._client
        seconds = _LONG_SECONDS if long else deadlines.wait_seconds(_WAIT_SECONDS)
        return getattr(client, method)(*arguments, timeout=seconds, **named)

    def _failed(self, error: Exception) -> StoreLostError:
        if _is_of_connection(error):
            self.problem = f"Milvus at {self.uri} does not answer"
            self._try_at = time.monotonic() + _REST_SECONDS
            return self._lost()
        said = str(getattr(error, "message", "") or error).splitlines()[0]
        return StoreLostError(f"Milvus at {self.uri} cannot do this: {said}", "see its log")

    def _lost(self) -> StoreLostError:
        return StoreLostError(self.problem or "", "check that it runs and that the address is right")


def _is_of_connection(error: Exception) -> bool:
    """Whether Milvus has not answered at all; its own errors have numbers."""
    code = getattr(error, "code", None)
    return not isinstance(code, int) or code in _NO_CONNECTION


def _literal(value: Any) -> str:
    """A value in a condition. Nothing in it can end the string: quotes and backslashes are escaped."""
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return str(int(value))
