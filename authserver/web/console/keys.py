"""Keys: the authorities and signing keys, the bundle, and the steps to another authority."""

from collections.abc import Iterator
from datetime import timedelta

from flask import Blueprint, Response, request

from authserver.core.errors import NotFound
from authserver.keys import signing_keys
from authserver.web.api import parsing
from authserver.web.api.keys import Key
from authserver.web.console.cells import NONE, Cell, LinkCell, TagsCell, TextCell, TimeCell, Tone
from authserver.web.console.forms import Question
from authserver.web.console.language import Label, lazy
from authserver.web.console.language import gettext as _
from authserver.web.console.layout import at, render
from authserver.web.console.lists import Column, ListPage
from authserver.web.console.visit import visit

pages = Blueprint("keys", __name__)

ROLES: dict[str, Label] = {"authority": lazy("authority"), "signing key": lazy("signing key")}
STATES: dict[str, tuple[Label, Tone]] = {
    "waiting": (lazy("waiting"), "warning"),
    "active": (lazy("active"), "good"),
    "retired": (lazy("retired"), ""),
    "revoked": (lazy("revoked"), "bad"),
}


def _state(key: Key) -> TagsCell:
    tags = [STATES[key.state]]
    in_use = key.state in ("waiting", "active")
    if in_use and key.not_after - visit().now < _told_before(key):
        tags.append((lazy("ends soon"), "bad"))
    return TagsCell(tags)


def _told_before(key: Key) -> timedelta:
    is_leaf = key.role == "signing key" and key.registry is None
    return signing_keys.BEFORE_LEAF if is_leaf else signing_keys.BEFORE_AUTHORITY


def _registry(key: Key) -> Cell:
    if key.registry is None:
        return TextCell(NONE)
    return LinkCell(key.registry, at("registries/show", service=key.registry))


LIST = ListPage(
    page="keys",
    title=lazy("Keys"),
    operation="list_keys",
    columns=(
        Column(
            lazy("Key"),
            lambda key: LinkCell(_name(key), at("keys/show", role=key.role, id=key.id)),
        ),
        Column(lazy("State"), _state),
        Column(lazy("Ends"), lambda key: TimeCell(key.not_after)),
        Column(lazy("Type"), lambda key: TextCell(key.key_type)),
        Column(lazy("Signs for"), _registry),
        Column(lazy("Key id"), lambda key: TextCell(key.key_id, code=True)),
    ),
    empty=lazy("There are no keys: set up the store with authserver init."),
    command=("key", "list"),
    actions=(
        ("keys/authority", lazy("Replace the authority"), "list_keys"),
        ("keys/bundle", lazy("Bundle to copy"), "show_bundle"),
    ),
    searches=False,
)


def _name(key: Key) -> str:
    return f"{ROLES[key.role]} {key.id}"


@pages.get("/keys")
def keys() -> Response:
    """List the authorities and the signing keys."""
    return LIST.answer()


def _all() -> Iterator[Key]:
    """Give all keys."""
    query: dict[str, str] = {"limit": "500"}
    while True:
        part = visit().call("list_keys", query=query)
        yield from part.items
        if part.next is None:
            return
        query["cursor"] = part.next.rpartition("cursor=")[2]


def _key(role: str) -> Key:
    """Return the key that the page is about."""
    wanted = parsing.number(request.args.get("id", ""))
    for key in _all():
        if (key.role, key.id) == (role, wanted):
            return key
    raise NotFound(f"there is no {role} {wanted}" if role in ROLES else "there is no such key")


@pages.get("/keys/show")
def show_key() -> Response:
    """Show a key."""
    key = _key(request.args.get("role", ""))
    return render("key.html", key=key, name=_name(key), state=_state(key), registry=_registry(key))


@pages.get("/keys/bundle")
def bundle() -> Response:
    """Show the certificates of the authorities, to copy."""
    return render("bundle.html", bundle=visit().call("show_bundle").bundle)


def _question(key: Key, title: str, button: str, notes: list[str], *command: str) -> Question:
    back = ("keys/show", {"role": key.role, "id": key.id})
    return Question(title, button, back, ("keys", {}), command, notes, is_bad=False)


@pages.route("/keys/rotate", methods=["GET", "POST"])
def rotate_key() -> Response:
    """Make the successor of a signing key."""
    visit().require("rotate_key")
    key = _key("signing key")
    title = _("Make a new key after signing key %(id)s?") % {"id": key.id}
    if key.registry is None:
        note = _(
            "It signs at once, and the private half of the one before is destroyed. No registry "
            "needs a change: they trust the authority. This also happens by itself every 30 days."
        )
        question = _question(key, title, _("Rotate"), [note], "key", "rotate")
    else:
        note = _(
            "The new key waits. Give the registry its section, restart it, and activate the key."
        )
        command = ("key", "rotate", "--registry", key.registry)
        question = _question(key, title, _("Make the key"), [note], *command)
    return question.ask("rotate_key", {"id": key.id})


@pages.route("/keys/activate", methods=["GET", "POST"])
def activate_key() -> Response:
    """Have a registry's own key sign that waits."""
    visit().require("activate_key")
    key = _key("signing key")
    service = key.registry or ""
    title = _("Have signing key %(id)s sign for %(name)s?") % {"id": key.id, "name": service}
    notes = [
        _("Does the registry have the key in the files that its section names, and was it "
          "restarted? If not, it refuses every token from now on."),
        _("The key before is retired, and its private half is destroyed."),
    ]  # fmt: skip
    command = ("key", "rotate", "--registry", service)
    question = _question(key, title, _("Activate"), notes, *command)
    return question.ask("activate_key", {"id": key.id})


@pages.route("/keys/revoke", methods=["GET", "POST"])
def revoke_key() -> Response:
    """Stop using a signing key, for an emergency."""
    visit().require("revoke_key")
    key = _key("signing key")
    notes = [
        _("This is for an emergency. Nothing is signed with the key any more, its private half is "
          "destroyed, and it is taken out of the JWKS and the bundle.")
    ]  # fmt: skip
    if key.signs:
        notes.append(_("A new key signs at once."))
    notes.append(
        _("Registries check no revocation: what was signed with it, also by a thief, is accepted "
          "until its certificate ends, unless the authority is replaced.")
        if key.registry is None
        else _("Its registry goes on accepting it until it has its new files and was restarted.")
    )  # fmt: skip
    question = Question(
        _("Revoke signing key %(id)s?") % {"id": key.id},
        _("Revoke"),
        ("keys/show", {"role": key.role, "id": key.id}),
        ("keys", {}),
        ("key", "revoke", str(key.id)),
        notes,
    )
    return question.ask("revoke_key", {"id": key.id})
