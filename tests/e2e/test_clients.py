"""Every client by its own verbs: what it does, what it says, and exactly what it asks of us."""

from collections.abc import Iterator

import pytest

from tests.e2e import record
from tests.e2e.clients import CLIENTS, Client, at_hand, ready
from tests.e2e.record import ENDED_LOGIN, IDENTITY, WRONG_PASSWORD, Recording, Stage, stage
from tests.programs import require

pytestmark = pytest.mark.e2e

WORKS = ("login", "push", "pull", "copy", "delete", f"pull, {IDENTITY}", f"copy, {IDENTITY}")

LOGIN_ENDED = "this login has ended or is for another registry; run docker login again"
# These do not show what they were told first.
SAY_LOGIN_ENDED = {
    "ctr": "401 Unauthorized",
    "ctr-2": "401 Unauthorized",
    # It tries the refresh token as a password, too, and shows what it was told then.
    "docker-29": "run docker login again",
    "regctl": "unauthorized",
}


@pytest.fixture(scope="module")
def on(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    require("docker-registry")
    with stage(tmp_path_factory.mktemp("stage")) as made:
        yield made


@pytest.fixture(scope="module", params=at_hand(), ids=lambda kind: kind.name)
def recorded(
    request: pytest.FixtureRequest, on: Stage, tmp_path_factory: pytest.TempPathFactory
) -> Recording:
    """A client that has done all that it can."""
    kind: type[Client] = request.param
    home = tmp_path_factory.mktemp(kind.name)
    with ready(kind, on.host, home) as client:
        return record.record(client, on)


def test_it_does_all_that_it_can(recorded: Recording) -> None:
    done = {
        operation: recorded.done[operation] for operation in WORKS if operation in recorded.done
    }
    assert set(recorded.kind.verbs) <= done.keys()
    assert {o: d.stderr for o, d in done.items() if d.returncode != 0} == {}


def test_a_wrong_password_is_unauthorized_after_its_own_tries(recorded: Recording) -> None:
    failed = f"login, {WRONG_PASSWORD}" if recorded.kind.login_asks else f"pull, {WRONG_PASSWORD}"
    assert recorded.done[failed].returncode != 0
    assert recorded.kind.says_unauthorized in recorded.done[failed].stderr
    statuses = [request.status for request in recorded.requests[failed]]
    assert statuses == [401] * recorded.kind.tries


def test_a_wrong_password_pulls_nothing(recorded: Recording) -> None:
    assert recorded.done[f"pull, {WRONG_PASSWORD}"].returncode != 0


def test_an_ended_login_is_told(recorded: Recording) -> None:
    ended = recorded.done[f"pull, {ENDED_LOGIN}"]
    assert ended.returncode != 0
    assert SAY_LOGIN_ENDED.get(recorded.kind.name, LOGIN_ENDED) in ended.stderr


def test_its_requests_are_those_in_the_documentation(recorded: Recording) -> None:
    rows = record.PAGE.read_text().splitlines()
    documented = [row for row in rows if row.startswith(f"| {recorded.kind.name} |")]
    assert recorded.lines() == documented, (
        f"{recorded.kind.name} is {recorded.version} here; `python -m tests.e2e.record` writes anew"
    )


def test_the_documentation_has_nothing_else() -> None:
    head, _, rest = record.PAGE.read_text().partition("|---|---|---|---|\n")
    rows, _, _ = rest.partition(record.VERSIONS)
    assert f"{head}|---|---|---|---|\n" == record.HEAD
    names = dict.fromkeys(row.split(" ")[1] for row in rows.splitlines())
    assert list(names) == [kind.name for kind in CLIENTS]
