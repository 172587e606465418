"""Errors as application/problem+json (RFC 9457): a code for programs, a sentence for people."""

import logging
from collections.abc import Mapping
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from udml.collection.filtering.expression import FilterError
from udml.collection.outcome import GoneError
from udml.errors import BusyError, StoreLostError, UdmlError
from udml.pixels import Reason, Undecodable

MEDIA_TYPE = "application/problem+json"
_SENTENCES = {
    404: "there is nothing here; /openapi.json lists what there is",
    405: "what is here does not take this method; /openapi.json lists what it takes",
}
log = logging.getLogger(__name__)


class Problem(Exception):  # noqa: N818 - the standard's own word
    """An answer that is not the one asked for.

    Args:
        status: of HTTP.
        code: a short name that never changes.
        sentence: what is wrong, and what to do about it.
        headers: to send along.
    """

    def __init__(
        self, status: int, code: str, sentence: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(sentence)
        self.status = status
        self.code = code
        self.sentence = sentence
        self.headers = dict(headers or {})


def busy(code: str, sentence: str, retry_after_seconds: int = 1) -> Problem:
    """A 503 that says when to come back."""
    return Problem(503, code, sentence, {"Retry-After": str(retry_after_seconds)})


def store_lost() -> Problem:
    """A 503 that says what is lacking; where it is, callers need not know."""
    return busy("store_lost", "the store of the collection does not answer; try again shortly")


def undecodable(error: Undecodable) -> Problem:
    """Why an upload holds no usable image."""
    status = {Reason.TOO_LARGE: 413, Reason.NOT_AN_IMAGE: 415}.get(error.reason, 422)
    return Problem(status, str(error.reason), f"{error.reason.sentence}: {error.detail}")


def problem_response(problem: Problem) -> JSONResponse:
    """The answer that tells of a problem."""
    body = {
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "code": problem.code,
        "detail": problem.sentence,
    }
    return JSONResponse(body, problem.status, problem.headers, media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Answer every error of `app` as a problem."""
    app.add_exception_handler(Problem, _of_problem)
    app.add_exception_handler(RequestValidationError, _of_validation)
    app.add_exception_handler(HTTPException, _of_http)
    app.add_exception_handler(UdmlError, _of_engine)
    app.add_exception_handler(Exception, _of_fault)


async def _of_problem(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Problem)
    return problem_response(error)


async def _of_validation(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    parts = [f"{'.'.join(str(step) for step in e['loc'][1:])}: {e['msg']}" for e in error.errors()]
    return problem_response(Problem(422, "invalid_request", "; ".join(parts)))


async def _of_http(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    code = HTTPStatus(error.status_code).phrase.lower().replace(" ", "_")
    sentence = _SENTENCES.get(error.status_code, str(error.detail))
    return problem_response(Problem(error.status_code, code, sentence, error.headers))


async def _of_engine(_: Request, error: Exception) -> JSONResponse:
    """A fault of the service's own files is told to the operator, not to the caller."""
    if isinstance(error, BusyError):
        return problem_response(busy("changing", "others are changing the collection; try again shortly"))
    if isinstance(error, StoreLostError):
        log.error("%s", error)
        return problem_response(store_lost())
    if isinstance(error, FilterError):
        return problem_response(Problem(422, "bad_filter", "; ".join(filter(None, (error.what, error.hint)))))
    if isinstance(error, GoneError):
        return problem_response(Problem(410, "gone", error.what))
    log.error("%s", error)
    return problem_response(Problem(500, "internal", "the service cannot do this; its log says why"))


async def _of_fault(_: Request, error: Exception) -> JSONResponse:
    """A fault of ours. Starlette raises `error` again, and the server logs it."""
    return problem_response(Problem(500, "internal", "the service failed; its log says where"))
