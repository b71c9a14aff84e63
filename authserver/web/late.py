"""An application that is made when it is first asked for something."""

from collections.abc import Callable, Iterable
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class Late:
    """Answers what is below the path ``prefix``, and leaves the rest to ``others``.

    To ``make`` it takes a part of a second and of the memory, and few processes are ever asked.
    """

    def __init__(
        self, prefix: str, make: "Callable[[], WSGIApplication]", others: "WSGIApplication"
    ) -> None:
        self._below, self._make, self._others = f"{prefix}/", make, others
        self._made: WSGIApplication | None = None
        self._making = Lock()

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Answer one request (PEP 3333)."""
        if not environ.get("PATH_INFO", "").startswith(self._below):
            return self._others(environ, start_response)
        return self._application()(environ, start_response)

    def _application(self) -> "WSGIApplication":
        with self._making:
            if self._made is None:
                self._made = self._make()
            return self._made
