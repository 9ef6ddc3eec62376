"""The operations endpoints: what an operator asks of a deployed stage, over HTTP (docs/operations-api.md).

Every refusal is `application/problem+json` (RFC 9457) whose detail names the field and the value. Powertools validates
by pydantic, which the functions' asset does not have: the few values are read here.
"""

import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from http import HTTPMethod, HTTPStatus
from typing import Any
from urllib.parse import quote, unquote

from aws_lambda_powertools.event_handler import LambdaFunctionUrlResolver, Response

from shared.domain.errors import ArcadeJobsError, BadInputError, NotReachableError
from shared.domain.tick import MAX_TEXT, Tick, Trigger
from shared.observability import logger
from shared.operations.deployment import Deployment
from shared.operations.health import read_health
from shared.operations.status import read_status
from shared.operations.trigger import invoke, queued_run_id

DEFAULT_LIMIT, MAX_LIMIT = 20, 100  # runs in a history
MAX_RUN_ID = 2048  # bytes, the longest key of DynamoDB
BODY_KEYS = ("time", "reason", "dry_run", "accept_orphans")  # the actor is the caller, and not theirs to choose
JSON, PROBLEM = "application/json", "application/problem+json"
TIME_TO_ACCEPT = 0  # seconds that Lambda waits for a run before it accepts an asynchronous event

Route = Callable[..., Response[str]]


class NotFoundError(ArcadeJobsError):
    """The path names something that does not exist."""


class OperationsApi:
    """The endpoints of one stage.

    Attributes:
        routes: by path, `<name>` for a part of it that is a value, and by method.
    """

    def __init__(self, deployment: Deployment, *, jobs: Sequence[str], clock: Callable[[], datetime]) -> None:
        self._deployment = deployment
        self._jobs = jobs
        self._clock = clock
        self.routes: Mapping[str, Mapping[HTTPMethod, Route]] = {
            "/api/health": {HTTPMethod.GET: self._health},
            "/api/jobs/status": {HTTPMethod.GET: self._status},
            "/api/jobs/history": {HTTPMethod.GET: self._history},
            "/api/jobs/runs/<run_id>": {HTTPMethod.GET: self._run},
            "/api/jobs/trigger/<job>": {HTTPMethod.POST: self._trigger},
        }
        self._resolver = LambdaFunctionUrlResolver()
        for path, methods in self.routes.items():
            for method, route in methods.items():
                self._resolver.route(path, method=method)(route)
            others = [str(method) for method in HTTPMethod if method not in methods]
            self._resolver.route(path, method=others)(self._wrong_method(", ".join(methods)))
        self._resolver.not_found(self._no_such_path)
        self._resolver.exception_handler(Exception)(_refuse)

    def __call__(self, event: dict[str, Any], context: Any) -> dict[str, Any]:
        """Answer one request to the function URL."""
        return self._resolver.resolve(event, context)

    def _health(self) -> Response[str]:
        self._read_query(())
        health = read_health(self._deployment, self._jobs, now=self._clock())
        status = HTTPStatus.OK if health.is_healthy else HTTPStatus.SERVICE_UNAVAILABLE
        return _response(status, health.to_json())

    def _status(self) -> Response[str]:
        self._read_query(())
        return _response(HTTPStatus.OK, read_status(self._deployment, self._jobs, now=self._clock()).to_json())

    def _history(self) -> Response[str]:
        query = self._read_query(("limit", "job"))
        limit = _read_limit(query.get("limit", str(DEFAULT_LIMIT)))
        job = query.get("job")
        if job is not None and job not in self._jobs:
            raise BadInputError(self._no_such_job(job))
        runs = self._deployment.run_store().list_runs(job, limit=limit)
        return _response(HTTPStatus.OK, {"runs": [run.to_json() | {"counts": run.counts} for run in runs]})

    def _run(self, run_id: str) -> Response[str]:
        self._read_query(())
        run_id = unquote(run_id)
        is_possible = len(run_id.encode()) <= MAX_RUN_ID
        run = self._deployment.run_store().get(run_id) if is_possible else None
        if run is None:
            raise NotFoundError(f"run: there is no {_shown(run_id)}; GET /api/jobs/history lists what there is")
        return _response(HTTPStatus.OK, run.to_json() | {"attempts": [each.to_json() for each in run.attempts]})

    def _trigger(self, job: str) -> Response[str]:
        self._read_query(())
        job = unquote(job)
        if job not in self._jobs:
            raise NotFoundError(self._no_such_job(job))
        event = {"trigger": str(Trigger.MANUAL), "actor": self._caller()[:MAX_TEXT], **self._read_body()}
        Tick.from_event(event, now=self._clock(), request_id="")  # nothing is sent that the function would refuse
        queued = invoke(self._deployment, job, event, limit=TIME_TO_ACCEPT, is_asynchronous=True)
        run_id = queued_run_id(job, event, queued["request_id"])
        location = {"Location": f"/api/jobs/runs/{quote(run_id)}"}
        return _response(HTTPStatus.ACCEPTED, queued | {"run_id": run_id}, headers=location)

    def _wrong_method(self, allowed: str) -> Route:
        """What answers the methods that a path does not take."""

        def refuse(**_: str) -> Response[str]:
            event = self._resolver.current_event
            detail = f"method: {_shown(event.path)} takes {allowed}, got {_shown(event.http_method)}"
            return _problem(HTTPStatus.METHOD_NOT_ALLOWED, detail, headers={"Allow": allowed})

        return refuse

    def _no_such_path(self, _: Exception) -> Response[str]:
        paths = ", ".join(path.replace("<", "{").replace(">", "}") for path in self.routes)
        return _problem(
            HTTPStatus.NOT_FOUND, f"path: there is no {_shown(self._resolver.current_event.path)}; there are {paths}"
        )

    def _no_such_job(self, job: str) -> str:
        return f"job: there is no {_shown(job)}; there are {', '.join(self._jobs)}"

    def _read_query(self, names: Collection[str]) -> dict[str, str]:
        """The parameters of the query; one of another name is a mistake, which would otherwise be ignored."""
        query = self._resolver.current_event.query_string_parameters
        for name in query:
            if name not in names:
                raise BadInputError(f"query {_shown(name)}: unknown; expected {' or '.join(names) or 'none'}")
        return query

    def _read_body(self) -> dict[str, Any]:
        """The manual event in the body; no body is an empty one."""
        try:
            text = self._resolver.current_event.decoded_body or "{}"
            body = json.loads(text)
        except (ValueError, RecursionError):
            raise BadInputError("body: expected a JSON object, got what is not JSON") from None
        if not isinstance(body, dict):
            raise BadInputError(f"body: expected a JSON object, got {_shown(text)}")
        for name in body:
            if name not in BODY_KEYS:
                raise BadInputError(f"body {_shown(name)}: unknown; expected any of {', '.join(BODY_KEYS)}")
        return body

    def _caller(self) -> str:
        """Whose signature the request carries; the function URL has verified it."""
        return self._resolver.current_event.request_context.authorizer.iam.get("userArn") or "unknown"


def _read_limit(value: str) -> int:
    limit = int(value) if re.fullmatch("[0-9]{1,9}", value) else 0
    if not 1 <= limit <= MAX_LIMIT:
        raise BadInputError(f"limit: expected a whole number from 1 to {MAX_LIMIT}, got {_shown(value)}")
    return limit


def _refuse(error: Exception) -> Response[str]:
    match error:
        case NotFoundError():
            status = HTTPStatus.NOT_FOUND
        case BadInputError():
            status = HTTPStatus.BAD_REQUEST
        case NotReachableError():
            status = HTTPStatus.SERVICE_UNAVAILABLE
        case _:
            logger.exception("request failed")
            return _problem(HTTPStatus.INTERNAL_SERVER_ERROR, "a fault of the endpoints; their log has it")
    return _problem(status, " ".join(str(error).split()))


def _problem(status: HTTPStatus, detail: str, *, headers: Mapping[str, Any] | None = None) -> Response[str]:
    problem = {"type": "about:blank", "title": status.phrase, "status": status.value, "detail": detail}
    return _response(status, problem, content_type=PROBLEM, headers=headers)


def _response(
    status: HTTPStatus, body: Any, *, content_type: str = JSON, headers: Mapping[str, Any] | None = None
) -> Response[str]:
    return Response(
        status_code=status.value, content_type=content_type, body=json.dumps(body), headers=dict(headers or {})
    )


def _shown(value: str) -> str:
    """The value as it goes into a message: on one line, escaped, and cut."""
    text = ascii(value)
    return text if len(text) <= 80 else f"{text[:77]}..."  # noqa: PLR2004 - what fits in a line
