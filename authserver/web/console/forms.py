"""Forms: what was filled in, and the steps that all of them share."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from flask import Response, request

from authserver.db import losses
from authserver.db.losses import Loss, Removable
from authserver.web.api.models import ApiLoss
from authserver.web.api.rule_changes import RuleEffects
from authserver.web.console.faults import tried
from authserver.web.console.language import gettext as _
from authserver.web.console.layout import redirect, render
from authserver.web.console.visit import visit


def text(name: str) -> str:
    """Return a field's text without spaces around it."""
    return request.form.get(name, "").strip()


def optional(name: str) -> str | None:
    """Return a field's text, None if it is empty."""
    return text(name) or None


def number(name: str) -> int | str | None:
    """Return a field's number, None if it is empty; what is no number as it was typed."""
    typed = text(name)
    return (
        int(typed) if typed.isascii() and typed.isdecimal() and len(typed) < 20 else typed or None
    )


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
    visit().require(operation, path)
    tag, row = found()
    fault = None
    if request.method == "POST":
        query = {"confirm": "true"} if row is not None else {}
        if forces and checked("force"):
            query["force"] = "true"
        _done, fault = tried(lambda: visit().call(operation, path, query=query, tag=text("tag")))
        if fault is None:
            return redirect(after)
    goes: list[ApiLoss] = []
    if row is not None:
        with visit().read() as session:
            goes = shown(losses.of(session, [row]))
    values = {"what": what, "tag": tag, "goes": goes, "back": back, "command_words": command}
    return render("remove.html", fault=fault, forces=forces, **values)


def shown(going: Iterable[Loss]) -> list[ApiLoss]:
    """Return what goes with a thing, as pages show it."""
    return [ApiLoss.model_validate(asdict(loss)) for loss in going]


def yes_or_no(value: object) -> str:
    """Return in words whether something holds."""
    return _("yes") if value else _("no")


@dataclass(frozen=True)
class Question:
    """A question before an operation is done: ``notes`` and what goes say what it does.

    ``preview``: who gains and who loses by it, of a rule.

    ``back`` is the page to return to, ``after`` the page that follows, each with its arguments.
    ``forces`` is the text of a box to do it all the same, which is there after a refusal.
    """

    title: str
    button: str
    back: tuple[str, Mapping[str, object]]
    after: tuple[str, Mapping[str, object]]
    command: Sequence[str]
    notes: Sequence[str] = ()
    goes: Sequence[ApiLoss] = ()
    tag: str | None = None
    forces: str = ""
    is_bad: bool = True
    preview: RuleEffects | None = None

    def ask(
        self,
        operation: str,
        path: Mapping[str, Any] | None = None,
        *,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> Response:
        """Show the question; do the operation when it is confirmed."""
        visit().require(operation, path, body)
        fault = None
        if request.method == "POST":
            tag = optional("tag")
            if self.forces and checked("force"):
                query = {**(query or {}), "force": "true"}
            _done, fault = tried(
                lambda: visit().call(operation, path, body=body, query=query, tag=tag)
            )
            if fault is None:
                return redirect(self.after[0], **self.after[1])
        return render("question.html", question=self, fault=fault)


def renaming(
    operation: str, noun: str, name: str, *, title: str, page: str, notes: Sequence[str]
) -> Response:
    """Ask for another name of a thing, and give it that; ``page`` shows the thing by its name."""
    visit().require(operation, {"name": name})
    fault, wanted = None, name
    if request.method == "POST":
        wanted = text("name")
        renamed, fault = tried(
            lambda: visit().call(operation, {"name": name}, body={"name": wanted})
        )
        if renamed is not None:
            return redirect(page, name=renamed.answer.name)
    values = {"name": name, "wanted": wanted, "title": title, "page": page, "notes": notes}
    return render("rename.html", fault=fault, noun=noun, **values)
