"""The API's OpenAPI document: valid, as committed, and true of the running application."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from openapi_spec_validator import OpenAPIV31SpecValidator
from schemathesis.config import SchemathesisConfig

from authserver.db import delegations
from authserver.web.api import openapi, router
from tests.web.lasting import lasting
from tests.world import ADMIN, SERVICE, World, basic

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

COMMITTED = Path(__file__).parents[2] / "docs" / "openapi.json"

# A condition that does not hold, or none where one is needed, is no fault of the data; nor is a
# cursor that is none (400), which a schema cannot say. What a schema does say is answered by 422.
CONFIG = {
    "checks": {
        "positive_data_acceptance": {
            "expected-statuses": ["2xx", "400", "401", "403", "404", "409", "412", "428"]
        },
        "missing_required_header": {"expected-statuses": ["401", "403", "428"]},
    }
}


class Served:
    """The application: the tests are collected before there is one."""

    inner: Flask

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        return self.inner(environ, start_response)


served = Served()
schema = schemathesis.openapi.from_dict(
    openapi.document(router.NOUNS), config=SchemathesisConfig.from_dict(CONFIG)
)
schema.app = served


ENDS = ["0001-01-01T00:00:00", "9999-12-31T23:59:59.999999"]
ZONES = ["Z", "+14:00", "-14:00", "+23:59", "-23:59"]
schemathesis.openapi.format(
    "date-time",
    st.tuples(
        st.sampled_from(ENDS) | st.datetimes().map(datetime.isoformat), st.sampled_from(ZONES)
    ).map("".join),
)


@pytest.fixture(scope="module")
def standing(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with lasting(template, tmp_path_factory) as world:
        served.inner = world.client.application
        yield world


@pytest.fixture
def administrator(standing: World) -> str:
    """A new app token of the administrator's: an operation may end that of another test."""
    _, secret = standing.app_token(ADMIN, "admin", name=_new(standing, "administrator"))
    return basic(ADMIN, secret)


@pytest.fixture
def delegate(standing: World) -> str:
    """An app token of somebody who may write rules within team/**."""
    name = _new(standing, "delegate")
    standing.user(name)
    standing.group(name, name)
    with standing.wiring.store.change("test") as change:
        delegations.add(change, name, SERVICE, delegations.extent("team/**", "all"))
    _, secret = standing.app_token(name, "admin")
    return basic(name, secret)


def _new(world: World, kind: str) -> str:
    return f"{kind}{world.wiring.store.clock():%H%M%S%f}"


# The requests are the same each time. `make soak` sends more, and others.
fuzzed = settings(
    max_examples=settings().max_examples // 4,
    derandomize=settings.get_current_profile_name() == "tests",
    suppress_health_check=[*HealthCheck],
)


@schema.parametrize()
@fuzzed
def test_every_operation_does_as_the_document_says(
    case: schemathesis.Case[Any], administrator: str
) -> None:
    case.call_and_validate(headers={"Authorization": administrator})


@schema.parametrize()
@fuzzed
def test_every_operation_does_so_for_a_delegate(
    case: schemathesis.Case[Any], delegate: str
) -> None:
    case.call_and_validate(headers={"Authorization": delegate})


RULE = {"effect": "allow", "subjects": ["everyone"], "patterns": ["a"], "actions": ["pull"]}
QUESTION = {"account": ADMIN, "registry": SERVICE, "scopes": ["repository:a:pull"]}
# Each time that a request can have: the query's parameters, and the bodies' fields.
TIMED: list[tuple[str, str, str, dict[str, Any] | None]] = [
    ("GET", "/audit", "since", None),
    ("GET", "/audit", "until", None),
    ("POST", "/rules", "valid_from", RULE),
    ("POST", "/rules", "valid_until", RULE),
    ("PUT", "/rules/{id}", "valid_from", RULE),
    ("PUT", "/rules/{id}", "valid_until", RULE),
    ("PATCH", "/rules/{id}", "valid_from", {}),
    ("PATCH", "/rules/{id}", "valid_until", {}),
    ("POST", "/explain", "at", QUESTION),
    ("POST", "/me/explain", "at", {"registry": SERVICE, "scopes": ["repository:a:pull"]}),
    *(("GET", path, "unused_since", None) for path in ("/users", "/robots", "/tokens")),
    ("GET", "/me/tokens", "unused_since", None),
]


@pytest.mark.parametrize(("method", "path", "name", "body"), TIMED)
@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("time", ENDS)
def test_a_time_at_either_end_is_taken_or_refused(
    standing: World,
    administrator: str,
    method: str,
    path: str,
    name: str,
    body: dict[str, Any] | None,
    time: str,
    zone: str,
) -> None:
    headers = {"Authorization": administrator, "If-Match": "*"}
    (first, *_) = standing.client.get("/api/v1/rules", headers=headers).get_json()["items"]
    query, sent = ({name: time + zone}, None) if body is None else ({}, body | {name: time + zone})
    answer = standing.client.open(
        "/api/v1" + path.replace("{id}", str(first["id"])),
        method=method,
        query_string=query,
        json=sent,
        headers=headers,
    )
    assert answer.status_code in (200, 201, 409), answer.text
    standing.wiring.state.refresh()
    for asked in ("rules", "policy", "lint", "audit"):
        answer = standing.client.get(f"/api/v1/{asked}", headers=headers)
        assert answer.status_code == 200, answer.text


def test_no_other_request_has_a_time() -> None:
    document = openapi.document(router.NOUNS)
    schemas = document["components"]["schemas"]
    found = set()
    for path, methods in document["paths"].items():
        for method, said in methods.items():
            for parameter in said.get("parameters", ()):
                if "date-time" in str(parameter["schema"]):
                    found.add((method, path, parameter["name"]))
            for content in said.get("requestBody", {}).get("content", {}).values():
                named = content["schema"].get("$ref", "").rpartition("/")[2]
                for name, field in schemas.get(named, {}).get("properties", {}).items():
                    if "date-time" in str(field):
                        found.add((method, path, name))
    assert found == {(method.lower(), f"/api/v1{path}", name) for method, path, name, _ in TIMED}


def texts_in_urls() -> list[tuple[str, str]]:
    """Return each way in which a URL of a GET can have a text: its path, or a query after it."""
    found = []
    for path, methods in openapi.document(router.NOUNS)["paths"].items():
        at = path.replace("{id}", "1").replace("{name}", "%00").replace("{service}", "%00")
        said = methods.get("get", {}).get("parameters", ())
        queried = [each for each in said if each["in"] == "query"]
        needed = "&".join(f"{each['name']}=push" for each in queried if each["required"])
        found.append((at, needed))
        found += [(at, f"{needed}&{each['name']}=a%00") for each in queried]
    return found


@pytest.mark.parametrize(("path", "query"), texts_in_urls())
def test_no_text_in_a_url_is_an_unexpected_error(
    standing: World, administrator: str, path: str, query: str
) -> None:
    asked = {each.partition("=")[0]: each for each in query.split("&") if each}
    answer = standing.client.get(
        f"{path}?{'&'.join(asked.values())}", headers={"Authorization": administrator}
    )
    assert answer.status_code < 500, answer.text


def test_the_document_is_valid(standing: World) -> None:
    served = standing.client.get("/api/v1/openapi.json")
    assert served.status_code == 200
    assert served.json is not None
    OpenAPIV31SpecValidator(served.json).validate()


def test_the_committed_document_is_the_served_one() -> None:
    assert COMMITTED.read_text() == openapi.text(router.NOUNS), (
        "write it anew: python -m tests.web.test_api_schema"
    )


if __name__ == "__main__":
    COMMITTED.write_text(openapi.text(router.NOUNS))
