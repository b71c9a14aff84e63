"""URLs of registries, and addresses of logs."""

from urllib.parse import SplitResult, urlsplit

from authserver.core.errors import Refused
from authserver.core.names import printable

PORTS = {"http": 80, "https": 443}
MAX_URL = 2000
SYSLOG = "syslog"
SYSLOG_TLS = "syslog+tls"


def parse_url(url: str) -> SplitResult:
    """Return the parts of a URL that a request may go to.

    Raises:
        Refused: the text is no http or https URL with a host, or has a user name.
    """
    text = printable(url, 200)
    if len(url) > MAX_URL:
        raise Refused(f"the URL {text!r} is too long")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise Refused(f"{text!r} is no URL") from None
    if parts.scheme not in PORTS or not parts.hostname:
        raise Refused(f"{text!r} is no URL like https://registry.example.com")
    if parts.username is not None or parts.password is not None:
        raise Refused("a URL with a user name or a password in it is not asked")
    if not url.isascii() or any(c.isspace() or not c.isprintable() for c in url):
        raise Refused(f"{text!r} holds characters that a URL does not have")
    return parts


def site(url: str) -> str:
    """Return scheme, host and port of a URL. Raises Refused as :func:`parse_url`."""
    parts = parse_url(url)
    return f"{parts.scheme}://{parts.netloc}"


def parse_log(address: str) -> SplitResult:
    """Return the address of AUTHSERVER_AUDIT_LOG as the parts of a URL.

    Raises:
        ValueError: the address is neither an absolute path nor a syslog URL.
    """
    url = urlsplit(address)
    if url.scheme not in (SYSLOG, SYSLOG_TLS):
        if not address.startswith("/"):
            raise ValueError(
                "must be an absolute path, syslog:, syslog:/path, syslog://host or syslog+tls://host"
            )
        return url
    if url.hostname and (url.path or url.query or url.fragment or url.username):
        raise ValueError(f"must be like {url.scheme}://host, with a port if need be, without more")
    if url.scheme == SYSLOG_TLS and not url.hostname:
        raise ValueError("must be like syslog+tls://host: TLS is spoken with a host")
    _ = url.port
    return url
