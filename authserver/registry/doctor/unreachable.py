"""Why no HTTP answer was had, and what may help."""

import socket
import ssl

from authserver.core.errors import AuthserverError
from authserver.core.names import printable


class Unreachable(AuthserverError):
    """No HTTP answer was had. The message says why, the cure what may help."""

    def __init__(self, message: str, cure: str) -> None:
        super().__init__(message)
        self.cure = cure


def explained(place: str, error: Exception, *, late: bool, seconds: float) -> Unreachable:
    """Say what went wrong at ``place``; ``late``: it was cut after ``seconds``."""
    match error:
        case _ if late or isinstance(error, TimeoutError):
            return Unreachable(
                f"{place} does not answer within {seconds:.0f} seconds",
                "let this machine reach it: look at firewalls, at the port, and at whether it runs",
            )
        case ssl.SSLError():
            return _without_tls(place, error)
        case socket.gaierror():
            return Unreachable(
                f"the name of {place} is not known here",
                "write the name right, or make this machine's DNS know it",
            )
        case ConnectionRefusedError():
            return Unreachable(
                f"nothing listens at {place}", "start it, or name the right host and port"
            )
        case OSError():
            return Unreachable(
                f"{place} cannot be reached: {printable(error.strerror or str(error))}",
                "let this machine reach it",
            )
    return Unreachable(
        f"what {place} answers is not HTTP: {printable(str(error) or type(error).__name__)}",
        "name the port that speaks HTTP; one that has TLS needs https://",
    )


def _without_tls(place: str, error: ssl.SSLError) -> Unreachable:
    if isinstance(error, ssl.SSLCertVerificationError):
        return Unreachable(
            f"the TLS certificate of {place} is not trusted here: {error.verify_message}",
            "name the CA that issued it with --ca-file, or have it issued for this name; "
            "clients need the same",
        )
    return Unreachable(
        f"{place} does not speak TLS: {printable(error.reason or 'the handshake failed')}",
        "write http:// if it has no TLS, or name the port that has",
    )
