"""Serving the operations: from a request to its answer."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from threading import BoundedSemaphore
from typing import Any
from urllib.parse import quote

from flask import Flask, Response, request
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
    me,
    openapi,
    parsing,
    policy,
    problems,
    registries,
    registry_checks,
    robots,
    rules,
    sessions,
    users,
)
from authserver.web.api.caller import Need
from authserver.web.api.models import Body, Nothing
from authserver.web.api.operations import Call, Operation, Operations, Parts, Reply
from authserver.web.api.preconditions import Conditions
from authserver.web.bodies import Bodies
from authserver.web.client_address import ClientAddress

NOUNS: tuple[Operations, ...] = (
    me.OPERATIONS,
    invitations.OPERATIONS,
    users.OPERATIONS,
    robots.OPERATIONS,
    groups.OPERATIONS,
    app_tokens.OPERATIONS,
    sessions.OPERATIONS,
    registries.OPERATIONS,
    rules.OPERATIONS,
    delegations.OPERATIONS,
    policy.OPERATIONS,
    access.OPERATIONS,
    keys.OPERATIONS,
    authorities.OPERATIONS,
    registry_checks.OPERATIONS,
    audit.OPERATIONS,
)

# Of the store's connections and the server's threads most stay for the token endpoint.
AT_ONCE = 6
WAITS = 2.0


class _Anything(PathConverter):
    """What may have slashes, and line breaks too, which a path of Werkzeug's own may not."""

    regex = r"[^/][\s\S]*?"


# How each parameter of a path stands in the application's routes. A service may have slashes.
_CONVERTERS = {
    "{name}": "<name>",
    "{service}": "<anything:service>",
    "{id}": "<id>",
}


def register(app: Flask, parts: Parts, client_address: ClientAddress, bodies: Bodies) -> None:
    """Serve the API. Its routes take every method themselves: none is answered by a default."""
    app.url_map.converters["anything"] = _Anything
    endpoint = _Endpoint(parts, client_address, bodies)
    paths: defaultdict[str, dict[str, Operation]] = defaultdict(dict)
    for noun in NOUNS:
        for operation in noun.found:
            paths[operation.path][operation.method] = operation
    for path, methods in paths.items():
        _route(app, path, endpoint.serving(methods))
    _route(app, "/openapi.json", _document)
    _route(app, "/<anything:rest>", endpoint.serving(None))


def _route(app: Flask, path: str, view: Callable[..., Response]) -> None:
    name = f"api {path}"
    for parameter, converter in _CONVERTERS.items():
        path = path.replace(parameter, converter)
    app.view_functions[name] = view
    app.url_map.add(Rule(PREFIX + path, endpoint=name))


def _document() -> Response:
    if request.method != "GET":
        return problems.answer_to(MethodNotAllowed(["GET"]))
    return _finished(Response(openapi.text(NOUNS), mimetype="application/json"))


@dataclass(frozen=True)
class _Endpoint:
    parts: Parts
    client_address: ClientAddress
    bodies: Bodies
    at_once: BoundedSemaphore = field(default_factory=lambda: BoundedSemaphore(AT_ONCE))

    def serving(self, methods: Mapping[str, Operation] | None) -> Callable[..., Response]:
        """Return the view of one path; ``methods`` None is one where nothing is."""

        def view(**path: str) -> Response:
            try:
                response = self._answer(methods, path)
            except Exception as error:  # noqa: BLE001 - each is told as a problem, in one place
                response = problems.answer_to(error)
            return _finished(response)

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
            return _response(operation.handler(_anew(call)))
        finally:
            self.at_once.release()

    def _call(self, operation: Operation, path: Mapping[str, str]) -> Call[Any, Any]:
        """Read a request. What its sender may not do is told before what is wrong with it."""
        callers = self.parts.callers
        address = self.client_address.of_request(request.environ)
        who = None if operation.need is Need.NOTHING else callers.of(request, address)
        if who is not None:
            who.require(operation.need)
        conditions = Conditions.of(request.headers)
        if operation.conditional and not operation.creates:
            conditions.require_stated()
        return Call(
            parts=self.parts,
            path=parsing.path(request, path),
            body=self._body(operation, address),
            query=parsing.query(request, operation.query),
            conditions=conditions,
            origin=Origin(address, request.headers.get("User-Agent", "")),
            need=operation.need,
            who=who,
            here=self.parts.settings.path_prefix + quote(request.path),
            arguments=request.args.to_dict(),
        )

    def _body(self, operation: Operation, address: str) -> Body:
        if operation.body is None:
            return Nothing()
        parsing.require_json(request)
        # Only here is it known who sends it: no stranger's body may be as large.
        self.bodies.read(request.environ, address, operation.max_bytes)
        return parsing.body(request.environ["wsgi.input"].read(), operation.body)


def _anew(call: Call[Any, Any]) -> Call[Any, Any]:
    """Return the call by who its caller is now: it has waited for a password, a body, a place."""
    if call.who is None:
        return call
    who = call.parts.callers.still(call.who, call.origin)
    who.require(call.need)
    return replace(call, who=who)


def _response(reply: Reply) -> Response:
    answer = reply.answer
    text = answer.model_dump_json(by_alias=True, exclude_unset=answer.sparse) if answer else ""
    response = Response(text, HTTPStatus(reply.status), mimetype="application/json")
    if answer is None:
        del response.headers["Content-Type"]
    if reply.tag is not None:
        response.set_etag(reply.tag)
    if reply.location is not None:
        response.headers["Location"] = reply.location
    return response


def _finished(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    return response
