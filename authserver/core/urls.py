"""URLs of registries."""

from urllib.parse import SplitResult, urlsplit

from authserver.core.errors import Refused
from authserver.core.names import printable

PORTS = {"http": 80, "https": 443}
MAX_URL = 2000


def parse_url(url: str) -> SplitResult:
    """Return the parts of a URL that may be asked.

    Raises:
        Refused: it is no http or https URL with a host, or names a user.
    """
    shown = printable(url, 200)
    if len(url) > MAX_URL:
        raise Refused(f"the URL {shown!r} is too long")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise Refused(f"{shown!r} is no URL") from None
    if parts.scheme not in PORTS or not parts.hostname:
        raise Refused(f"{shown!r} is no URL like https://registry.example.com")
    if parts.username is not None or parts.password is not None:
        raise Refused("a URL with a user name or a password in it is not asked")
    if not url.isascii() or any(c.isspace() or not c.isprintable() for c in url):
        raise Refused(f"{shown!r} holds characters that a URL does not have")
    return parts


def site(url: str) -> str:
    """Return scheme, host and port of a URL. Raises Refused as :func:`parse_url`."""
    parts = parse_url(url)
    return f"{parts.scheme}://{parts.netloc}"
