"""What was wrong with a request, as a page shows it: beside the fields, or above all of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TypeVar

from werkzeug.exceptions import HTTPException

from authserver.core.errors import AuthserverError, NotReady, Unauthorized
from authserver.web.api.models import ApiLoss
from authserver.web.api.problems import STATUSES, Refusal
from authserver.web.console.language import gettext as _

_T = TypeVar("_T")


@dataclass(frozen=True)
class FormFault:
    """A refusal. ``fields`` says what is wrong with a field, by its name in the operation's body.

    ``goes`` is what would go as well, had it been confirmed.
    """

    status: HTTPStatus
    text: str
    fields: Mapping[str, str] = field(default_factory=dict)
    goes: Sequence[ApiLoss] = ()

    @property
    def is_conflict(self) -> bool:
        """Whether the thing was changed since the form was shown."""
        return self.status is HTTPStatus.PRECONDITION_FAILED

    @classmethod
    def of(cls, error: AuthserverError | HTTPException) -> "FormFault":
        """Return what a page shows of an error."""
        if isinstance(error, HTTPException):
            return cls._http(error)
        status = next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)
        # Only the operator may read what is wrong with the installation: it is in the log.
        hidden = isinstance(error, NotReady)
        text = _("The server cannot answer now. Try again.") if hidden else sentence(str(error))
        return cls(status, text)

    @classmethod
    def _http(cls, error: HTTPException) -> "FormFault":
        status = HTTPStatus(error.code or 500)
        text = sentence(error.description or status.description)
        if not isinstance(error, Refusal):
            return cls(status, text)
        fields = {
            fault.where.strip("/").partition("/")[0]: sentence(fault.detail)
            for fault in error.invalid
        }
        return cls(status, _("Look at the marked fields.") if fields else text, fields, error.goes)


def tried(action: Callable[[], _T]) -> tuple[_T | None, FormFault | None]:
    """Return what ``action`` returns, or its refusal.

    A login that has ended, and a store that cannot be reached, are no matter of a form.
    """
    try:
        return action(), None
    except (Unauthorized, NotReady):
        raise
    except (AuthserverError, Refusal) as error:
        return None, FormFault.of(error)


def sentence(text: str) -> str:
    """Return a message of the domain as a sentence."""
    return f"{text[:1].upper()}{text[1:]}" + ("" if text.endswith((".", "`")) else ".")
