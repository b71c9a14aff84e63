"""Forms: what was filled in, and the steps that all of them share."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from flask import Response, request

from authserver.db import losses
from authserver.db.losses import Removable
from authserver.web.api.models import ApiLoss
from authserver.web.console.faults import tried
from authserver.web.console.layout import redirect, render
from authserver.web.console.visit import visit


def text(name: str) -> str:
    """Return a field's text without spaces around it."""
    return request.form.get(name, "").strip()


def optional(name: str) -> str | None:
    """Return a field's text, None if it is empty."""
    return text(name) or None


def checked(name: str) -> bool:
    """Whether a box is checked."""
    return name in request.form


def lines(name: str) -> list[str]:
    """Return what stands in a field, one on each line or with commas between."""
    return [part for part in text(name).replace(",", "\n").split() if part]


def removal(
    operation: str,
    path: Mapping[str, Any],
    *,
    found: Callable[[], tuple[str, Removable | None]],
    what: str,
    back: tuple[str, Mapping[str, object]],
    after: str,
    command: Sequence[str],
    forces: bool = True,
) -> Response:
    """Show what goes with a thing, and remove it when that is confirmed.

    ``found`` returns the thing's entity tag and its row (None: nothing goes with it), ``back`` is
    the page to return to without it, ``after`` the page that follows.
    """
    visit().require(operation)
    tag, row = found()
    fault = None
    if request.method == "POST":
        query = {"confirm": "true"} if row is not None else {}
        if forces and checked("force"):
            query["force"] = "true"
        _, fault = tried(lambda: visit().call(operation, path, query=query, tag=text("tag")))
        if fault is None:
            return redirect(after)
    goes: list[ApiLoss] = []
    if row is not None:
        with visit().read() as session:
            goes = [ApiLoss.model_validate(asdict(loss)) for loss in losses.of(session, [row])]
    values = {"what": what, "tag": tag, "goes": goes, "back": back, "command_words": command}
    return render("remove.html", fault=fault, forces=forces, **values)
