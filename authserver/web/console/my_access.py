"""What I may do, on each registry, and whether something would work."""

from collections.abc import Sequence
from itertools import groupby

from flask import Blueprint, Response, request

from authserver.core.rules import ACTIONS, ALL, LIST
from authserver.web.api.access import ApiReached, Explanation
from authserver.web.console.cells import TagsCell
from authserver.web.console.faults import FormFault, tried
from authserver.web.console.language import Label, lazy
from authserver.web.console.layout import render
from authserver.web.console.visit import visit

pages = Blueprint("my access", __name__)

ASKED: Sequence[tuple[str, Label]] = (
    ("pull", lazy("pull")),
    ("pull,push", lazy("push")),
    ("delete", lazy("delete")),
)
"""What somebody wants to do, and the actions that a client then asks for."""


@pages.get("/my/access")
def access() -> Response:
    """Show all that I may do, and answer a question about one repository."""
    reach = visit().call("show_my_effective")
    registries = [
        (name, [*entries]) for name, entries in groupby(reach.effective, lambda e: e.registry)
    ]
    answer, fault = _answer() if request.args.get("repository") else (None, None)
    return render(
        "my_access.html",
        registries=registries,
        answer=answer,
        fault=fault,
        asked=request.args,
        actions=ASKED,
        tags=_tags,
        address=request.args.get("from", visit().origin.address),
        from_words=("--from", answer.address) if answer and answer.address else (),
        usual_registry=registries[0][0] if registries else "",
    )


def _answer() -> tuple[Explanation | None, FormFault | None]:
    """Return whether what the query asks would work, and why."""
    asked = request.args
    body = {
        "registry": asked.get("registry", ""),
        "scopes": [f"repository:{asked['repository']}:{asked.get('actions', 'pull')}"],
        "from": asked.get("from") or None,
    }
    return tried(lambda: visit().call("explain_mine", body=body))


def _tags(entry: ApiReached) -> TagsCell:
    """Return the actions of an entry: all that people know by name."""
    known = ACTIONS[entry.type] if entry.type == "registry" else ACTIONS[entry.type][:-1]
    return TagsCell(
        [(LIST if action == ALL else action, "") for action in known if action in entry.actions]
    )
