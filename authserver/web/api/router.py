"""Serve the operations: from a request to its answer.

Every request goes one way: method, credentials, what the account may do, headers, path, body and
query; then a place among those AT_ONCE, the caller once more, and the handler.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from http import HTTPStatus
from threading import BoundedSemaphore
from typing import Any
from urllib.parse import quote

from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import MethodNotAllowed, NotFound
from werkzeug.routing import PathConverter, Rule

from authserver.auth.credentials import Origin
from authserver.core.errors import NotReady
from authserver.web.api import (
    PREFIX,
    access,
    app_tokens,
    audit,
    authorities,
    delegations,
    groups,
    invitations,
    keys,
    lockouts,
    me,
    openapi,
    overview,
    parsing,
    policy,
    problems,
    registries,
    registry_checks,
    robots,
    rule_changes,
    rules,
    second_factors,
    sessions,
    users,
)
from authserver.web.api.caller import Need
from authserver.web.api.models import ApiAnswer, ApiBody, Nothing
from authserver.web.api.operations import Call, Operation, Parts, Tagged
from authserver.web.api.preconditions import Preconditions
from authserver.web.bodies import Bodies
from authserver.web.client_address import ClientAddress

NOUNS = tuple(
    module.OPERATIONS
    for module in (
        me,
        overview,
        invitations,
        users,
        robots,
        groups,
        app_tokens,
        sessions,
        second_factors,
        lockouts,
        registries,
        rules,
        rule_changes,
        delegations,
        policy,
        access,
        keys,
        authorities,
        registry_checks,
        audit,
    )
)

# Most of the store's connections and of the server's threads stay for the token endpoint.
AT_ONCE = 6
WAITS = 2.0


class _Anything(PathConverter):
    """A part of a path with slashes, and line breaks too, which Werkzeug's own does not take."""

    regex = r"[^/][\s\S]*?"


def register(app: Flask, parts: Parts, client_address: ClientAddress, bodies: Bodies) -> None:
    """Serve the API. Its routes take every method, so that Flask answers none by itself."""
    app.url_map.converters["anything"] = _Anything
    endpoint = _Endpoint(parts, client_address, bodies)
    paths: defaultdict[str, dict[str, Operation]] = defaultdict(dict)
    for noun in NOUNS:
        for operation in noun.operations:
            paths[operation.path][operation.method] = operation
    for path, methods in paths.items():
        _route(app, path, endpoint.serving(methods))
    _route(app, "/openapi.json", _document)
    _route(app, "/", partial(_index, parts.settings.path_prefix + PREFIX, sorted(paths)))
    _route(app, "/<anything:rest>", endpoint.serving(None))


def _route(app: Flask, path: str, view: Callable[..., Response]) -> None:
    name = f"api {path}"
    app.view_functions[name] = view
    # A service may have slashes.
    path = path.replace("{service}", "<anything:service>").replace("{", "<").replace("}", ">")
    app.url_map.add(Rule(PREFIX + path, endpoint=name))


def _index(root: str, paths: Sequence[str]) -> Response:
    """Answer where the lists are, and what describes everything."""
    if request.method != "GET":
        return problems.answer_to(MethodNotAllowed(["GET"]))
    lists = [path for path in paths if "{" not in path]
    places = {path[1:]: root + path for path in ("/openapi.json", *lists)}
    return _uncached(jsonify(places))


def _document() -> Response:
    if request.method != "GET":
        return problems.answer_to(MethodNotAllowed(["GET"]))
    return _uncached(Response(openapi.text(NOUNS), mimetype="application/json"))


@dataclass(frozen=True)
class _Endpoint:
    parts: Parts
    client_address: ClientAddress
    bodies: Bodies
    at_once: BoundedSemaphore = field(default_factory=lambda: BoundedSemaphore(AT_ONCE))

    def serving(self, methods: Mapping[str, Operation] | None) -> Callable[..., Response]:
        """Return the view of one path. ``methods`` None answers that nothing is there."""

        def view(**path: str) -> Response:
            try:
                response = self._answer(methods, path)
            except Exception as error:  # noqa: BLE001 - one place turns each into a problem
                response = problems.answer_to(error)
            return _uncached(response)

        return view

    def _answer(self, methods: Mapping[str, Operation] | None, path: Mapping[str, str]) -> Response:
        if methods is None:
            raise NotFound("there is nothing at this path; see /api/v1/openapi.json")
        operation = methods.get(request.method)
        if operation is None:
            raise MethodNotAllowed(sorted(methods))
        call = self._call(operation, path)
        if not self.at_once.acquire(timeout=WAITS):
            raise NotReady("too many requests to the admin API at once")
        try:
            return _response(operation, operation.handler(_renewed(call)))
        finally:
            self.at_once.release()

    def _call(self, operation: Operation, path: Mapping[str, str]) -> Call[Any, Any]:
        """Read a request. A caller who may not do it does not learn what else is wrong with it."""
        callers = self.parts.callers
        address = self.client_address.of_request(request.environ)
        caller = None if operation.need is Need.NOTHING else callers.of(request, address)
        if caller is not None:
            caller.require(operation.need)
        preconditions = Preconditions.of(request.headers)
        if operation.conditional and not operation.creates:
            preconditions.require_stated()
        return Call(
            parts=self.parts,
            operation=operation,
            path=parsing.path(request, path),
            body=self._body(operation, address),
            query=parsing.query(request, operation.query),
            preconditions=preconditions,
            origin=Origin(address, request.headers.get("User-Agent", "")),
            authenticated=caller,
            here=self.parts.settings.path_prefix + quote(request.path),
            arguments=request.args.to_dict(),
        )

    def _body(self, operation: Operation, address: str) -> ApiBody:
        if operation.body is None:
            return Nothing()
        parsing.require_json(request)
        # Not earlier: a stranger must not send a body as large as an administrator's.
        self.bodies.read(request.environ, address, operation.max_bytes)
        return parsing.body(request.environ["wsgi.input"].read(), operation.body)


def _renewed(call: Call[Any, Any]) -> Call[Any, Any]:
    """Check the caller by the state of now: the call may have waited for bcrypt or its body."""
    if call.authenticated is None:
        return call
    caller = call.parts.callers.still(call.authenticated, call.origin)
    caller.require(call.operation.need)
    return replace(call, authenticated=caller)


def _response(operation: Operation, reply: ApiAnswer | Tagged[Any] | None) -> Response:
    status = operation.status
    if reply is None:
        response = Response(status=status)
        del response.headers["Content-Type"]
        return response
    answer = reply.answer if isinstance(reply, Tagged) else reply
    text = answer.model_dump_json(by_alias=True, exclude_unset=answer.sparse)
    response = Response(text, status, mimetype="application/json")
    if isinstance(reply, Tagged):
        response.set_etag(reply.tag)
        if reply.location is not None:
            response.headers["Location"] = reply.location
            response.status_code = HTTPStatus.CREATED
    return response


def _uncached(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    return response
