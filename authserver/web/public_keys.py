"""The public halves of the keys, as a JWKS and a certificate bundle that clients may cache."""

from hashlib import sha256

from flask import Flask, Response, request

from authserver.auth.state import StateCache
from authserver.core.errors import NotFound
from authserver.registry.published_keys import PublishedKeys

MAX_AGE = 300
JWKS, BUNDLE = "/.well-known/jwks.json", "/bundle.pem"
PATHS = frozenset({JWKS, BUNDLE})


def register(app: Flask, cache: StateCache) -> None:
    """Serve ``/.well-known/jwks.json`` and ``/bundle.pem``; ``?service=`` for one registry."""

    @app.get(JWKS)
    def jwks() -> Response:
        return _answer(_published(cache).jwks, "application/jwk-set+json")

    @app.get(BUNDLE)
    def bundle() -> Response:
        return _answer(_published(cache).bundle, "application/x-pem-file")


def _published(cache: StateCache) -> PublishedKeys:
    keys = cache.current.keys.published.get(request.args.get("service"))
    if keys is None:
        raise NotFound("unknown service; leave it out, or name one of this server's registries")
    return keys


def _answer(text: str, mimetype: str) -> Response:
    response = Response(text, mimetype=mimetype)
    response.headers["Cache-Control"] = f"public, max-age={MAX_AGE}"
    response.set_etag(sha256(text.encode()).hexdigest()[:32])
    response.make_conditional(request)
    return response
