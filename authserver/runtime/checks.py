"""Checks of an installation, as ``health`` runs them: each passes, or raises an error."""

from collections.abc import Callable, Mapping

from authserver.core.errors import AuthserverError

Check = Callable[[], None]


def failures(checks: Mapping[str, Check]) -> dict[str, str | None]:
    """Run every check; return its error by its name, None for one that passes."""
    return {name: _failure(check) for name, check in checks.items()}


def _failure(check: Check) -> str | None:
    try:
        check()
    except AuthserverError as error:
        return str(error)
    return None
