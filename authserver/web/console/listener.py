"""The listener that a console is served on: where its pages are, and which forms are its own."""

from dataclasses import dataclass
from urllib.parse import quote, unquote, urlencode, urlsplit

from werkzeug.datastructures import Headers

from authserver.core.errors import Forbidden
from authserver.runtime.settings import Settings
from authserver.web.console import PREFIX

SECURE_COOKIE, PLAIN_COOKIE = "__Host-authserver", "authserver_console"


@dataclass(frozen=True)
class ConsoleListener:
    """Where browsers reach the console.

    ``url`` is configured, never taken from a request: proxies rewrite a host, and attackers choose
    it. It is None on a listener of the administration without ``AUTHSERVER_ADMIN_URL``. Where
    ``administers`` is false, the pages of administrators are on another listener.
    """

    url: str | None
    administers: bool
    is_tls: bool = False

    @classmethod
    def public(cls, settings: Settings) -> "ConsoleListener":
        return cls(settings.public_url, settings.admin_listen is None)

    @classmethod
    def of_administration(cls, settings: Settings) -> "ConsoleListener":
        is_tls = isinstance(settings.admin_place, tuple) and settings.admin_tls_files is not None
        return cls(settings.admin_url, administers=True, is_tls=is_tls)

    @property
    def root(self) -> str:
        """Return the path of the console as browsers know it, without a slash at the end."""
        return urlsplit(self.url or "").path.rstrip("/") + PREFIX

    @property
    def is_secure(self) -> bool:
        """Whether browsers reach it by TLS, so that its cookie may be bound to that."""
        return self.is_tls or urlsplit(self.url or "").scheme == "https"

    @property
    def cookie(self) -> str:
        return SECURE_COOKIE if self.is_secure else PLAIN_COOKIE

    def at(self, page: str, **arguments: object) -> str:
        """Return the path of a page. Names stand in the query: one may be ``..``."""
        query = urlencode({name: value for name, value in arguments.items() if value is not None})
        return f"{self.root}/{quote(page)}" + (f"?{query}" if query else "")

    def within(self, path: str | None) -> str:
        """Return ``path`` if it is that of a page of the console, else its first page's."""
        first = f"{self.root}/"
        # A browser reads a backslash as a slash, and leaves out tabs and line breaks.
        if path is None or not path.startswith(first) or "\\" in path or not path.isprintable():
            return first
        # Dot segments would lead to what else is on this host.
        segments = unquote(path.partition("?")[0]).split("/")
        return first if {".", ".."} & {*segments} else path

    def require_own_form(self, headers: Headers) -> None:
        """Check that a form stood on a page of this console (as Go's CrossOriginProtection does).

        Raises:
            Forbidden: another site sent it, or the browser does not say which.
        """
        site, origin = headers.get("Sec-Fetch-Site"), headers.get("Origin")
        if site is not None:
            if site != "same-origin":
                raise Forbidden("another site sent this form: open the console itself")
        elif origin is None or self.url is None or origin != _origin_of(self.url):
            raise Forbidden(
                "the browser does not say that this form is the console's own: open it by https, "
                "at localhost, or under the URL in "
                + ("AUTHSERVER_PUBLIC_URL" if self.url else "AUTHSERVER_ADMIN_URL")
            )


def _origin_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()
