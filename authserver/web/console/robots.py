"""Robots: programs, who answers for them, and their app tokens."""

from flask import Blueprint, Response, request

from authserver.core.commands import operands
from authserver.db import lookup
from authserver.db.models import AccountRow
from authserver.web.api.robots import Robot
from authserver.web.console import accounts, forms
from authserver.web.console.cells import LinkCell, TagsCell, TextCell, TimeCell, Tone, words
from authserver.web.console.faults import tried
from authserver.web.console.language import Label, lazy
from authserver.web.console.language import gettext as _
from authserver.web.console.layout import at, redirect, render
from authserver.web.console.lists import Column, ListPage
from authserver.web.console.visit import visit

pages = Blueprint("robots", __name__)

TERMS = ("owner", "description", "outlives_owner")


def _marks(robot: Robot) -> TagsCell:
    marks: list[tuple[Label, Tone]] = []
    if robot.disabled:
        marks.append((lazy("disabled"), "bad"))
    if robot.owner_disabled:
        kept = robot.outlives_owner
        marks.append((lazy("owner disabled"), "warning" if kept else "bad"))
    if robot.outlives_owner:
        marks.append((lazy("outlives its owner"), ""))
    return TagsCell(marks)


LIST = ListPage(
    page="robots",
    title=lazy("Robots"),
    operation="list_robots",
    columns=(
        Column(
            lazy("Name"),
            lambda robot: LinkCell(robot.name, at("robots/show", name=robot.name)),
            sort="name",
        ),
        Column(lazy("State"), _marks),
        Column(lazy("Owner"), lambda robot: TextCell(robot.owner or "\N{EN DASH}")),
        Column(lazy("Description"), lambda robot: TextCell(robot.description)),
        Column(lazy("Groups"), lambda robot: words(robot.groups)),
        Column(lazy("Created"), lambda robot: TimeCell(robot.created_at), sort="created"),
        Column(
            lazy("Last used"), lambda robot: TimeCell(robot.last_used_at, lazy("never")), "used"
        ),
    ),
    empty=lazy("There are no robots. Make one for each program that pushes or pulls."),
    command=("robot", "list"),
    filters=(accounts.UNUSED_SINCE,),
    actions=(("robots/new", lazy("New robot"), "put_robot"),),
)


@pages.get("/robots")
def robots() -> Response:
    """List the robots."""
    return LIST.answer()


@pages.route("/robots/new", methods=["GET", "POST"])
def new_robot() -> Response:
    """Make a robot."""
    visit().require("put_robot")
    fault, wanted = None, _filled()
    if request.method == "POST":
        name = forms.text("name")
        _made, fault = tried(
            lambda: visit().call("put_robot", {"name": name}, body=_body(wanted), new=True)
        )
        if fault is None:
            return redirect("robots/show", name=name)
    name = request.form.get("name", "")
    return render("robot_form.html", robot=None, name=name, wanted=wanted, fault=fault)


@pages.get("/robots/show")
def show_robot() -> Response:
    """Show a robot."""
    robot, _tag = _seen()
    return render(
        "robot.html",
        robot=robot,
        marks=_marks(robot),
        groups=accounts.in_groups(robot.groups),
        more=accounts.more_of(robot.name, "robot"),
    )


@pages.route("/robots/edit", methods=["GET", "POST"])
def edit_robot() -> Response:
    """Change who answers for a robot, and what it is for."""
    visit().require("change_robot")
    robot, tag = _seen()
    was = {term: getattr(robot, term) or "" for term in TERMS}
    wanted, fault = was, None
    if request.method == "POST":
        wanted = _filled()
        _done, fault = tried(
            lambda: visit().call(
                "change_robot", {"name": robot.name}, body=_body(wanted), tag=forms.text("tag")
            )
        )
        if fault is None:
            return redirect("robots/show", name=robot.name)
    conflict = [
        (_("Owner"), wanted["owner"], was["owner"]),
        (_("Description"), wanted["description"], was["description"]),
        (
            _("Outlives its owner"),
            forms.yes_or_no(wanted["outlives_owner"]),
            forms.yes_or_no(was["outlives_owner"]),
        ),
    ]
    return render(
        "robot_form.html",
        robot=robot,
        name=robot.name,
        tag=tag,
        wanted=wanted,
        fault=fault,
        conflict=conflict if fault and fault.is_conflict else None,
    )


def _filled() -> dict[str, str | bool]:
    return {
        "owner": forms.text("owner"),
        "description": forms.text("description"),
        "outlives_owner": forms.checked("outlives_owner"),
    }


def _body(wanted: dict[str, str | bool]) -> dict[str, str | bool | None]:
    return {**wanted, "owner": wanted["owner"] or None}


@pages.route("/robots/disable", methods=["GET", "POST"])
def disable_robot() -> Response:
    """Disable a robot."""
    robot, tag = _seen()
    return accounts.switching("robot", robot.name, tag, disabled=True)


@pages.route("/robots/enable", methods=["GET", "POST"])
def enable_robot() -> Response:
    """Enable a robot again."""
    robot, tag = _seen()
    return accounts.switching("robot", robot.name, tag, disabled=False)


@pages.route("/robots/rename", methods=["GET", "POST"])
def rename_robot() -> Response:
    """Give a robot another name."""
    robot, _tag = _seen()
    return accounts.renaming("robot", robot.name)


@pages.route("/robots/remove", methods=["GET", "POST"])
def remove_robot() -> Response:
    """Remove a robot."""
    robot, tag = _seen()

    def found() -> tuple[str, AccountRow]:
        with visit().read() as session:
            return tag, lookup.account(session, robot.name)

    return forms.removal(
        "remove_robot",
        {"name": robot.name},
        found=found,
        what=_("the robot %(name)s") % {"name": robot.name},
        back=("robots/show", {"name": robot.name}),
        after="robots",
        command=("robot", "remove", *operands(robot.name)),
    )


def _seen() -> tuple[Robot, str]:
    """Return the robot of the page, and its tag."""
    found = visit().call("show_robot", {"name": request.args.get("name", "")})
    robot: Robot = found.answer
    return robot, found.tag
