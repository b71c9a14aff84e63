"""What the public pages share: how they are served, answered, and kept to themselves."""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from shlex import quote
from urllib.parse import urlsplit

from flask import Flask, Response, render_template, request

from authserver.core.errors import AuthserverError, Forbidden, Refused
from authserver.core.password_rules import wanted
from authserver.runtime.settings import Settings
from authserver.web import errors
from authserver.web.bodies import Bodies
from authserver.web.client_address import ClientAddress

Form = Mapping[str, str]


@dataclass(frozen=True)
class FormPage:
    """A page with one form, at ``/name``; it sets no cookie."""

    name: str
    settings: Settings
    client_address: ClientAddress
    bodies: Bodies

    def register(self, app: Flask, submit: Callable[[Form, str], Response]) -> None:
        """Serve the page. ``submit`` takes a form and the address that it comes from."""

        def view() -> Response:
            if request.method != "POST":
                return self.answer()
            client = self.client_address.of_request(request.environ)
            try:
                self._require_own_form()
                self.bodies.read(request.environ, client)
                return submit(request.form, client)
            except AuthserverError as error:
                return self.refuse(error)

        for path in (f"/{self.name}", f"/{self.name}/"):
            app.add_url_rule(path, self.name, view, methods=["GET", "POST"])

    def _require_own_form(self) -> None:
        """Check that the form stood on a page of ours, as far as the browser says so.

        A hidden token would not do: without a cookie, another site could fetch one for itself.

        Raises:
            Forbidden: another site sent it.
        """
        site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
        if site is not None:
            ours = site in ("same-origin", "none")
        else:
            # Over http, and from older browsers. Which scheme a client uses, a proxy may not tell.
            hosts = (request.headers.get("Host"), urlsplit(self.settings.public_url).netloc)
            # An origin is no more than this (RFC 6454, 7).
            ours = origin is None or origin.partition("://")[2] in hosts
        if not ours:
            raise Forbidden("another site sent this form: open this page itself")

    def refuse(self, error: AuthserverError, **values: str) -> Response:
        """Return the page with what is wrong."""
        status, _, message = errors.told(error)
        problem = f"{message[:1].upper()}{message[1:]}."
        response = self.answer(status, problem=problem, **values)
        errors.say_when_to_retry(response, error)
        return response

    def answer(self, status: HTTPStatus = HTTPStatus.OK, **values: str) -> Response:
        """Return the page, with ``values`` in its template."""
        nonce, minimum = secrets.token_urlsafe(16), self.settings.password_min_length
        page = render_template(
            f"{self.name}.html",
            nonce=nonce,
            rule=wanted(minimum),
            minimum=minimum,
            host=self.settings.registry_host,
            # Never the path without the slash, which links have: behind the same path, a browser
            # would take a new link with another code for a place in the page that it shows.
            action="" if request.path.endswith("/") else f"{self.name}/",
            # A name may have quotes and dollar signs: what the page shows is pasted into a shell.
            quote=quote,
            password_page=f"{self.settings.public_url}/password",
            **values,
        )
        response = Response(page, status, mimetype="text/html")
        response.headers["Content-Security-Policy"] = (
            f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; "
            "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
        )
        # With no-referrer, browsers would not say either that a form is the page's own.
        response.headers["Referrer-Policy"] = "same-origin"
        response.headers["Cache-Control"] = "no-store"
        return response


def new_password(form: Form) -> str:
    """Return the new password of a form. Raises Refused if it is not there twice."""
    password = form.get("password", "")
    if password != form.get("again"):
        raise Refused("the two passwords are not the same")
    return password
