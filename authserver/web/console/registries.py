"""Registries: their entries, the section of their own configuration, and their doctor."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, request

from authserver.core.commands import operands
from authserver.core.signatures import HeaderMode, KeyType
from authserver.db import lookup
from authserver.db.models import RegistryRow
from authserver.keys.compatibility import Trust, Version
from authserver.web.api.registries import ApiRegistry, RegistryTerms
from authserver.web.console import forms
from authserver.web.console.cells import NONE, LinkCell, TagsCell, TextCell, TimeCell
from authserver.web.console.faults import FormFault, tried
from authserver.web.console.language import Label, lazy, ngettext
from authserver.web.console.language import gettext as _
from authserver.web.console.layout import at, redirect, render
from authserver.web.console.lists import Column, ListPage
from authserver.web.console.visit import console, visit

pages = Blueprint("registries", __name__)

MODES: Mapping[HeaderMode, Label] = {
    HeaderMode.X5C: lazy("x5c: by its certificate; the registry trusts the authority"),
    HeaderMode.LIBTRUST: lazy("libtrust: by the key id of Distribution 2.8"),
    HeaderMode.RFC7638: lazy("rfc7638: by the key id of Distribution 3"),
}
TRUSTS: Mapping[Trust, Label] = {
    Trust.BUNDLE: lazy("rootcertbundle"),
    Trust.JWKS: lazy("jwks"),
    Trust.BOTH: lazy("rootcertbundle and jwks"),
}
FIELDS: Mapping[str, Label] = {
    "url": lazy("URL"),
    "token_ttl": lazy("Life of its tokens"),
    "refresh_tokens": lazy("Refresh tokens"),
    "app_tokens_only": lazy("App tokens only"),
    "challenge_anonymous": lazy("Asks anonymous browsers for a password"),
    "version": lazy("Version of Distribution"),
    "trust": lazy("Its configuration names"),
    "header_mode": lazy("Tokens name their key"),
    "key_type": lazy("Type of a key of its own"),
}


def _header(registry: ApiRegistry) -> TagsCell:
    tags: list[tuple[Label, Any]] = [(registry.header_mode, "")]
    if registry.waiting_key is not None:
        tags.append((lazy("a key waits"), "warning"))
    return TagsCell(tags)


def _life(registry: ApiRegistry) -> TextCell:
    default = console().parts.settings.token_ttl
    if registry.token_ttl is None:
        return TextCell(_("%(seconds)s s, the setting") % {"seconds": default})
    return TextCell(_("%(seconds)s s") % {"seconds": registry.token_ttl})


def _checked(registry: ApiRegistry) -> TagsCell:
    last = registry.last_check
    if last is None:
        return TagsCell([(lazy("never"), "")])
    if last.healthy:
        return TagsCell([(lazy("healthy"), "good")])
    failed = ngettext("%(number)s failed", "%(number)s failed", last.failed)
    return TagsCell([(failed % {"number": last.failed}, "bad")])


LIST = ListPage(
    page="registries",
    title=lazy("Registries"),
    operation="list_registries",
    columns=(
        Column(
            lazy("Service"),
            lambda each: LinkCell(each.service, at("registries/show", service=each.service)),
            sort="service",
        ),
        Column(lazy("URL"), lambda each: TextCell(each.url or NONE)),
        Column(lazy("Life of its tokens"), _life),
        Column(lazy("Key named by"), _header),
        Column(lazy("Last check"), _checked),
        Column(lazy("Created"), lambda each: TimeCell(each.created_at), sort="created"),
    ),
    empty=lazy("There are no registries: no token is issued. Add the first one."),
    command=("registry", "list"),
    actions=(("registries/new", lazy("New registry"), "put_registry"),),
)


@pages.get("/registries")
def registries() -> Response:
    """List the registries."""
    return LIST.answer()


@pages.get("/registries/show")
def show_registry() -> Response:
    """Show a registry."""
    registry = visit().call("show_registry", {"service": _service()}).answer
    cells: dict[str, Any] = {
        "header": _header(registry),
        "life": _life(registry),
        "checked": _checked(registry),
    }
    return render("registry.html", registry=registry, **cells, **TERMS)


def _service() -> str:
    return request.args.get("service", "")


TERMS: dict[str, Any] = {"modes": MODES, "trusts": TRUSTS, "fields": FIELDS}
"""What the templates know of an entry's fields."""


def _choices() -> dict[str, Any]:
    unknown: list[tuple[str, Label]] = [("", lazy("not known"))]
    return {
        "versions": unknown + [(version.value, version.value) for version in Version],
        "trust_choices": [(trust.value, text) for trust, text in TRUSTS.items()],
        "mode_choices": [(mode.value, text) for mode, text in MODES.items()],
        "key_types": [(kind.value, kind.value) for kind in KeyType],
        "default_ttl": console().parts.settings.token_ttl,
    }


def _typed() -> dict[str, Any]:
    """Return the terms that were filled in."""
    mode = forms.text("header_mode")
    # Without a key of its own, the leaf under the authority signs.
    key_type = KeyType.P256 if mode == HeaderMode.X5C else forms.text("key_type")
    return {
        "url": forms.optional("url"),
        "token_ttl": forms.number("token_ttl"),
        "refresh_tokens": forms.checked("refresh_tokens"),
        "app_tokens_only": forms.checked("app_tokens_only"),
        "challenge_anonymous": forms.checked("challenge_anonymous"),
        "version": forms.optional("version"),
        "trust": forms.text("trust"),
        "header_mode": mode,
        "key_type": key_type,
    }


def _form(template: str, terms: Mapping[str, Any], **values: Any) -> Response:  # noqa: ANN401 - as render
    return render(template, terms=terms, **_choices(), **TERMS, **values)


@pages.route("/registries/new", methods=["GET", "POST"])
def new_registry() -> Response:
    """Add a registry."""
    visit().require("put_registry")
    if request.method == "GET":
        return _form("registry_new.html", RegistryTerms().model_dump(mode="json"), service="")
    service, terms = forms.text("service"), _typed()
    _made, fault = tried(
        lambda: visit().call("put_registry", {"service": service}, body=terms, new=True)
    )
    if fault is None:
        return redirect("registries/config", service=service)
    return _form("registry_new.html", terms, service=service, fault=fault)


@pages.route("/registries/edit", methods=["GET", "POST"])
def edit_registry() -> Response:
    """Change a registry."""
    visit().require("put_registry")
    found = visit().call("show_registry", {"service": _service()})
    registry: ApiRegistry = found.answer
    present = registry.model_dump(mode="json", include={*FIELDS})
    if request.method == "GET":
        return _edit_form(present, registry=registry, tag=found.tag)
    terms = _typed()
    fault = _refused(registry, terms) or _put(terms)
    if fault is None:
        return redirect("registries/show", service=registry.service)
    is_conflict = fault.is_conflict
    return _edit_form(
        terms,
        registry=registry,
        tag=found.tag if is_conflict else forms.text("tag"),
        conflict=[(FIELDS[name], terms[name], present[name]) for name in FIELDS]
        if is_conflict
        else (),
        fault=None if is_conflict else fault,
        asks_ready=_is_abrupt(registry, terms),
    )


def _edit_form(terms: Mapping[str, Any], **values: Any) -> Response:  # noqa: ANN401 - as render
    return _form("registry_edit.html", terms, **{"conflict": (), "asks_ready": False} | values)


def _is_abrupt(registry: ApiRegistry, terms: Mapping[str, Any]) -> bool:
    """Whether another way to name the key is in force at once."""
    return registry.own_key is not None and terms["header_mode"] != registry.header_mode


def _refused(registry: ApiRegistry, terms: Mapping[str, Any]) -> FormFault | None:
    """Return why the form is not sent on: the registry must be ready for what it changes."""
    if not _is_abrupt(registry, terms) or forms.checked("ready"):
        return None
    text = _("This is in force within a second. Is the registry ready for it? Confirm it below.")
    return FormFault(HTTPStatus.CONFLICT, text)


def _put(terms: Mapping[str, Any]) -> FormFault | None:
    query = {"confirm": "true"} if forms.checked("confirm") else {}
    path, tag = {"service": _service()}, forms.text("tag")
    _done, fault = tried(
        lambda: visit().call("put_registry", path, body=terms, query=query, tag=tag)
    )
    return fault


@pages.get("/registries/config")
def registry_config() -> Response:
    """Show the section for the registry's own configuration, to copy."""
    service, version = _service(), request.args.get("version")
    query = {"registry": service} | ({"version": version} if version else {})
    return render("registry_config.html", config=visit().call("show_registry_config", query=query))


@pages.route("/registries/check", methods=["GET", "POST"])
def check_registry() -> Response:
    """Examine a registry, and show what is wrong and how to mend it."""
    registry = visit().call("show_registry", {"service": _service()}).answer
    report, fault, last = None, None, None
    if request.method == "POST":
        body = {"registry": registry.service}
        report, fault = tried(lambda: visit().call("check_registry", body=body))
    elif registry.last_check is not None:
        last = visit().call("show_last_check", {"service": registry.service})
    values = {"report": report, "last": last, "fault": fault}
    return render("registry_check.html", registry=registry, **values, **TERMS)


@pages.route("/registries/remove", methods=["GET", "POST"])
def remove_registry() -> Response:
    """Remove a registry."""
    service = _service()

    def found() -> tuple[str, RegistryRow]:
        tag = visit().call("show_registry", {"service": service}).tag
        with visit().read() as session:
            return tag, lookup.registry(session, service)

    return forms.removal(
        "remove_registry",
        {"service": service},
        found=found,
        what=_("the registry %(name)s") % {"name": service},
        back=("registries/show", {"service": service}),
        after="registries",
        command=("registry", "remove", *operands(service)),
    )
