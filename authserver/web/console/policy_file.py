"""The policy as one file: export, plan and apply. What is applied is the plan that was shown."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flask import Blueprint, Response, request

from authserver.core.commands import shell_command
from authserver.core.errors import Refused
from authserver.policy.files import current_state, parser, yaml_values
from authserver.policy.files import export as policy_export
from authserver.policy.files.document import BadPolicy, Place
from authserver.policy.files.schema import PolicySections
from authserver.web.api.policy import PolicyPlan
from authserver.web.api.problems import Refusal
from authserver.web.console import forms
from authserver.web.console.faults import FormFault, sentence
from authserver.web.console.language import gettext as _
from authserver.web.console.layout import redirect, render
from authserver.web.console.visit import visit

pages = Blueprint("policy", __name__)

LARGE = ("console.policy.plan", "console.policy.apply")
"""The forms that carry a file."""
MAX_FILE = 3 * 2**20
"""Of a file: it travels from the plan to its application in a form, which adds to it."""
SHOWN = 200


@dataclass(frozen=True)
class PolicyFault:
    """What is wrong with a file, each problem with its line; or why it was refused."""

    fault: FormFault
    lines: Sequence[tuple[int, str]] = ()


@dataclass(frozen=True)
class PolicyUpload:
    """A policy file that was sent, and how it is taken."""

    text: str
    prune: bool
    force: bool
    body: Mapping[str, Any] = field(default_factory=dict)
    lines: Mapping[Place, int] = field(default_factory=dict)

    def line_of(self, where: str) -> int:
        """Return the line of a JSON Pointer into the document, or of what it stands in."""
        parts = [part.replace("~1", "/").replace("~0", "~") for part in where.split("/")[1:]]
        place: Place = ()
        for part in parts:
            number = int(part) if part.isascii() and part.isdecimal() else part
            place = (*place, number) if (*place, number) in self.lines else (*place, part)
        while place not in self.lines and place:
            place = place[:-1]
        return self.lines.get(place, 1)


@pages.get("/policy")
def policy() -> Response:
    """Say what may be done with the policy."""
    visit().require("export_policy")
    return render("policy.html")


@pages.get("/policy/export")
def export() -> Response:
    """Export the policy as the file that the command prints."""
    visit().require("export_policy")
    with visit().read() as session:
        standing = current_state.load(session)
    response = Response(
        policy_export.export(current_state.as_policy(standing)), mimetype="application/yaml"
    )
    response.headers["Content-Disposition"] = 'attachment; filename="policy.yml"'
    return response


@pages.route("/policy/plan", methods=["GET", "POST"])
def plan() -> Response:
    """Take a file, and show what it would change and who would gain or lose."""
    visit().require("plan_policy")
    if visit().may("apply_policy"):
        # A proof that is asked for later would lose the file.
        visit().require("apply_policy")
    if request.method == "GET":
        return render("policy_upload.html", prune=False)
    sent = request.files.get("file")
    if sent is None:
        return _shown(_of_form())
    # A large one is a temporary file.
    with sent.stream:
        return _shown(sent.read())


@pages.route("/policy/apply", methods=["GET", "POST"])
def apply() -> Response:
    """Apply a file, if its plan is still the one that was shown."""
    visit().require("apply_policy")
    if request.method == "GET":
        return redirect("policy/plan")
    content = _of_form()
    try:
        upload = _read(content)
        query = {"plan": forms.text("plan"), "prune": _flag(upload.prune)}
        done = visit().call(
            "apply_policy", body=upload.body, query=query | {"force": _flag(upload.force)}
        )
    except (Refused, Refusal) as error:
        return _shown(content, error)
    return render("policy_applied.html", plan=done, counts=_counts(done))


def _of_form() -> bytes:
    """Return the file that came in a form, which ends each line with two characters."""
    return forms.text("policy").replace("\r\n", "\n").encode()


def _shown(content: bytes, refused: Refused | Refusal | None = None) -> Response:
    """Show the plan of a file, or what is wrong with it; ``refused`` is why it was not applied."""
    prune = forms.checked("prune")
    upload: PolicyUpload | None = None
    try:
        upload = _read(content)
        planned = visit().call(
            "plan_policy", body=upload.body, query={"prune": _flag(upload.prune)}
        )
    except (Refused, Refusal) as error:
        wrong = _wrong(error, upload)
        return render("policy_upload.html", fault=wrong.fault, lines=wrong.lines, prune=prune)
    return render(
        "policy_plan.html",
        fault=None if refused is None else FormFault.of(refused),
        plan=planned,
        counts=_counts(planned),
        upload=upload,
        shown=SHOWN,
        command_words=["policy", "apply", *(["--prune"] if prune else []), "policy.yml"],
    )


def _read(content: bytes) -> PolicyUpload:
    """Read a file.

    Raises:
        BadPolicy: it is wrong, with the line of each problem.
        Refused: it is too large to travel in a form.
    """
    if len(content) > MAX_FILE:
        raise Refused(
            f"the file is larger than {MAX_FILE // 2**20} MiB: "
            f"use `{shell_command('policy', 'apply', 'FILE')}`"
        )
    read = parser.read(content, "policy.yml")
    if not read.says_something:
        raise Refused("the file says nothing: it has none of the sections of a policy")
    document = yaml_values.read(content, "policy.yml")
    sections = PolicySections.model_validate(document.value)
    body = sections.model_dump(mode="json", by_alias=True, exclude_unset=True)
    # As YAML has an entry without keys; JSON's is empty.
    if "registries" in body:
        body["registries"] = {name: part or {} for name, part in body["registries"].items()}
    text = content.decode("utf-8-sig")
    return PolicyUpload(text, forms.checked("prune"), forms.checked("force"), body, document.lines)


def _wrong(error: Refused | Refusal, upload: PolicyUpload | None) -> PolicyFault:
    if isinstance(error, BadPolicy):
        lines = [(each.line, sentence(each.text)) for each in error.problems]
        return PolicyFault(FormFault(FormFault.of(error).status, _("The file is wrong.")), lines)
    if isinstance(error, Refusal) and error.invalid and upload is not None:
        found = sorted(
            (upload.line_of(each.where), sentence(each.detail)) for each in error.invalid
        )
        return PolicyFault(FormFault(FormFault.of(error).status, _("The file is wrong.")), found)
    return PolicyFault(FormFault.of(error))


def _counts(planned: PolicyPlan) -> dict[str, int]:
    """Return how many things are added, changed and removed."""
    verbs = Counter(str(step.do) for step in planned.changes)
    added, removed = verbs["add"], verbs["remove"]
    return {"added": added, "changed": verbs.total() - added - removed, "removed": removed}


def _flag(value: bool) -> str:
    return "true" if value else "false"
