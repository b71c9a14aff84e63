"""What every answer must look like."""

from typing import Any

from werkzeug.test import TestResponse

CHALLENGE = 'Basic realm="authserver", charset="UTF-8"'


def error_of(response: TestResponse, status: int) -> str:
    """Check an error of ``status`` in the form that registry clients read; return its message."""
    assert response.status_code == status, response.text
    assert response.mimetype == "application/json"
    assert response.headers["Cache-Control"] == "no-store"
    assert ("WWW-Authenticate" in response.headers) == (status == 401)
    body: Any = response.json
    (error,) = body["errors"]
    assert error.keys() == {"code", "message", "detail"}
    assert error["code"] == error["code"].upper()
    assert isinstance(body["details"], str)
    assert body["details"] == error["message"] != ""
    assert response.headers["X-Request-Id"] not in response.text
    assert "eyJ" not in response.text, "a registry token in an error"
    return str(body["details"])


def refused(response: TestResponse) -> str:
    """Check the answer to credentials that are not good; return its body."""
    error_of(response, 401)
    assert response.headers["WWW-Authenticate"] == CHALLENGE
    return response.text
