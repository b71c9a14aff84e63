"""The API's OpenAPI document: valid, as committed, and true of the running application."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, settings
from openapi_spec_validator import OpenAPIV31SpecValidator
from schemathesis.config import SchemathesisConfig

from authserver.web.api import openapi, router
from tests.web.lasting import lasting
from tests.world import ADMIN, PASSWORD, World, basic

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
        "missing_required_header": {"expected-statuses": ["401", "428"]},
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


@pytest.fixture(scope="module")
def standing(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with lasting(template, tmp_path_factory) as world:
        served.inner = world.client.application
        yield world


@schema.parametrize()
@settings(max_examples=25, suppress_health_check=[*HealthCheck])
def test_every_operation_does_as_the_document_says(
    case: schemathesis.Case[Any], standing: World
) -> None:
    case.call_and_validate(headers={"Authorization": basic(ADMIN, PASSWORD)})


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
