"""Who is asked what: several people at once, each another pair; every answer on disk before the next pair."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from udml.judgement.answers import WITHDRAWN, Answers, Key, append, read_answers, stamped
from udml.serving.service.problems import Problem

if TYPE_CHECKING:  # it reads the catalogue; this needs the open one only
    from udml.judgement.deck import Deck
    from udml.judgement.standing import Standing

_CLAIM_SECONDS = 300  # a pair that lies unanswered for so long is given to someone else
_MOST_SEATS = 1000
_SEEN_ALREADY = 2  # pairs named in advance, so that their pictures are there when they are asked


class Table:
    """The pairs, the answers, and who has which pair before them. May be used from several threads.

    Args:
        deck: what there is to judge.
        stand: what answers say of it.
        path: of the file of answers; others may add to it meanwhile.
        clock: in seconds.
    """

    def __init__(
        self,
        deck: "Deck",
        stand: "Callable[[Deck, Answers], Standing]",
        path: Path,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._deck, self._stand, self._path, self._clock = deck, stand, path, clock
        self._turns = np.argsort(deck.pairs.turn, kind="stable")
        self._place = {key: at for at, key in enumerate(deck.pairs.keys)}
        self._pictures = {sha256 for key in deck.pairs.keys for sha256 in key}
        self._claims: OrderedDict[str, tuple[Key, float]] = OrderedDict()
        self._given: dict[str, list[tuple[Key, str]]] = {}  # answers of each seat, for undo
        self._read: tuple[int, int] | None = None
        self._answers = Answers()
        self._lock = threading.Lock()

    def ask(self, seat: str) -> list[Key]:
        """The pair that a seat is to judge, then those that will probably follow; empty if all are judged."""
        with self._lock:
            self._refresh()
            return self._next(seat)

    def answer(self, seat: str, pair: Key, answer: str, name: str) -> list[Key]:
        """Keep an answer, and give the seat its next pair.

        Raises:
            Problem: if there is no such pair, or the name or the answer is none.
        """
        if pair not in self._place or answer == WITHDRAWN:
            raise Problem(
                422, "no_such_pair", "this pair is not among those to be judged; load the page again"
            )
        with self._lock:
            self._append(pair, answer, name)
            self._given.setdefault(seat, []).append((pair, name))
            self._claims.pop(seat, None)
            return self._next(seat)

    def undo(self, seat: str) -> list[Key]:
        """Take back the last answer of a seat, which gets the pair again.

        Raises:
            Problem: if there is none.
        """
        with self._lock:
            given = self._given.get(seat)
            if not given:
                raise Problem(409, "nothing_to_undo", "nothing was answered here since `udml judge` started")
            pair, name = given.pop()
            self._append(pair, WITHDRAWN, name)
            self._claims[seat] = pair, self._clock()
            return self._next(seat)

    def can_undo(self, seat: str) -> bool:
        """Whether the seat has answered anything."""
        return bool(self._given.get(seat))

    def standing(self) -> "Standing":
        """What the answers say by now."""
        with self._lock:
            self._refresh()
            return self._stand(self._deck, self._answers)

    def picture(self, sha256: str) -> np.ndarray:
        """Pixels of a picture that may be asked about.

        Raises:
            Problem: if it is none of them.
        """
        if sha256 not in self._pictures:
            raise Problem(404, "not_found", "there is no such picture among those to be judged")
        return self._deck.picture(sha256)

    def _append(self, pair: Key, answer: str, name: str) -> None:
        try:
            said = stamped(*pair, answer, name)
        except ValueError as error:
            raise Problem(422, "invalid_request", str(error)) from error
        append([said], self._path)
        self._refresh()

    def _refresh(self) -> None:
        """Read the file again if anybody has added to it."""
        there = self._path.stat() if self._path.exists() else None
        state = None if there is None else (there.st_ino, there.st_size)
        if state != self._read:
            self._read, self._answers = state, read_answers(self._path)

    def _next(self, seat: str) -> list[Key]:
        now = self._clock()
        own = self._claims.get(seat)
        taken = {
            pair
            for other, (pair, since) in self._claims.items()
            if other != seat and now - since < _CLAIM_SECONDS
        }
        free = (
            key
            for key in (self._deck.pairs.keys[at] for at in self._turns)
            if key not in self._answers.standing and key not in taken
        )
        pairs = [] if own is None or own[0] in self._answers.standing else [own[0]]
        for key in free:
            if len(pairs) > _SEEN_ALREADY:
                break
            if key not in pairs:
                pairs.append(key)
        if pairs:
            self._claims[seat] = pairs[0], now
            self._claims.move_to_end(seat)
        if len(self._claims) > _MOST_SEATS:
            self._claims.popitem(last=False)
        return pairs
