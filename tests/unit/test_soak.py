"""What `make soak` judges by: a judge that takes everything would hold nothing."""

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.message import Message

import pytest

from authserver import keyring
from authserver.keyring import Signer
from tests.e2e.fetching import Answer
from tests.soak import page
from tests.soak.facts import Fact, Reach, Turn
from tests.soak.grants import Judge, Question, Rights, Wrong
from tests.soak.load import Sample
from tests.soak.outcome import Period, Stored, count, longest_gap
from tests.soak.place import advised
from tests.soak.questions import ALWAYS, basic_question

NOW = datetime.now(UTC)
AUTHORITY = keyring.make_authority("authserver", NOW)
SIGNER = Signer.of(keyring.make_leaf(AUTHORITY, NOW))
STORED = Stored(10, 5, (), (), 100, 0, 3, 0)


def taken(at: float) -> Fact:
    """Return a right that was taken: asked for a tenth of a second before it was acknowledged."""
    fact = Fact.of("right to push", value=True)
    fact.turns.append(Turn(value=False, begun=at - 0.1, acknowledged=at))
    return fact


def question(push: Fact, alive: Fact = ALWAYS) -> Question:
    rights = Rights("team/app", ALWAYS, push)
    return basic_question("password", "alice", "secret", alive, rights)


def answer(
    *actions: str, signer: Signer = SIGNER, other: Mapping[str, object] | None = None
) -> Answer:
    entry = {"type": "repository", "name": "team/app", "actions": actions}
    # Not when this file was read: the other tests may take longer than a token lives.
    now = datetime.now(UTC)
    ends = int(now.timestamp()) + 300
    claims = {"iss": "authserver", "aud": "registry", "sub": "alice", "jti": "1", "exp": ends}
    claims |= {"access": [entry]} | dict(other or {})
    token = signer.sign_encoded(json.dumps(claims).encode(), now)
    return Answer(200, Message(), json.dumps({"token": token}).encode())


def judge(*outages: tuple[float, float]) -> Judge:
    return Judge(AUTHORITY.certificate_pem(), Reach(list(outages)))


def test_a_right_that_was_taken_is_granted_for_a_second_at_most() -> None:
    asked = question(taken(100.0))
    assert judge().verdict(asked, answer("pull", "push"), 100.9, 100.95).kind == "granted"
    with pytest.raises(Wrong, match=r"\['pull', 'push'\] without right to push"):
        judge().verdict(asked, answer("pull", "push"), 101.1, 101.2)
    assert judge().verdict(asked, answer("pull"), 101.1, 101.2).kind == "granted"


def test_time_without_the_store_does_not_count() -> None:
    asked, gone = question(taken(100.0)), judge((100.5, 130.0))
    found = gone.verdict(asked, answer("pull", "push"), 120.0, 120.1)
    assert (found.kind, found.stale) == ("granted", True)
    assert gone.verdict(asked, answer("pull", "push"), 130.4, 130.45).stale
    with pytest.raises(Wrong):
        gone.verdict(asked, answer("pull", "push"), 130.6, 130.7)


def test_a_right_that_was_taken_long_before_the_store_went_is_never_granted() -> None:
    with pytest.raises(Wrong):
        judge((102.0, math.inf)).verdict(
            question(taken(100.0)), answer("pull", "push"), 120.0, 120.1
        )


def test_while_a_change_is_on_its_way_both_may_be() -> None:
    asked = question(taken(math.inf))
    asked.rights.push.turns[-1].begun = 100.0  # type: ignore[union-attr]
    for actions in (("pull",), ("pull", "push")):
        found = judge().verdict(asked, answer(*actions), 200.0, 200.1)
        assert (found.kind, found.narrow) == ("granted", False)


def test_less_than_the_rules_grant_is_noted() -> None:
    assert judge().verdict(question(ALWAYS), answer("pull"), 1.0, 1.1).narrow
    assert not judge().verdict(question(ALWAYS), answer("pull", "push"), 1.0, 1.1).narrow


def test_a_credential_that_has_ended_is_refused() -> None:
    asked = question(ALWAYS, alive=taken(100.0))
    refusal = Answer(401, Message(), b"")
    assert judge().verdict(asked, refusal, 102.0, 102.1).kind == "refused"
    assert judge().verdict(asked, refusal, 50.0, 50.1).kind == "401"
    with pytest.raises(Wrong):
        judge().verdict(asked, answer(), 102.0, 102.1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"sub": "bob"},
        {"aud": "other"},
        {"iss": "other"},
        {"exp": int(NOW.timestamp()) - 10},
        {"access": [{"type": "repository", "name": "other/app", "actions": ["pull"]}]},
        {"access": [{"type": "repository", "name": "team/app", "actions": ["delete"]}]},
        {"access": [{"type": "registry", "name": "team/app", "actions": ["pull"]}]},
    ],
)
def test_a_token_of_something_else_is_wrong(wrong: dict[str, object]) -> None:
    with pytest.raises(Wrong):
        judge().verdict(question(ALWAYS), answer("pull", other=wrong), 1.0, 1.1)


def test_a_token_by_another_authority_is_wrong() -> None:
    other = Signer.of(keyring.make_leaf(keyring.make_authority("authserver", NOW), NOW))
    with pytest.raises(Wrong, match="by no authority of the bundle"):
        judge().verdict(question(ALWAYS), answer("pull", signer=other), 1.0, 1.1)


def sample(sent: float, kind: str = "granted", way: str = "password") -> Sample:
    return Sample(way, sent, sent + 0.5, kind)


def test_the_longest_gap_begins_and_ends_with_the_phase() -> None:
    period = Period("stopped", 10.0, 20.0)
    answered = [sample(11.5), sample(12.5), sample(13.0, "502"), sample(25.0)]
    assert longest_gap(answered, period) == 7.0
    assert longest_gap([], period) == 10.0


def test_failures_are_counted_by_kind_and_way() -> None:
    samples = [sample(11), sample(12, "502"), sample(13, "502"), sample(14, "503", "changes")]
    counted = count(Period("stopped", 10.0, 20.0), samples, [12.0, 30.0])
    assert (counted.requests, counted.failed) == (3, {"502 (password)": 2})
    assert (counted.changes, counted.changes_failed, counted.wrong) == (0, {"503": 1}, 1)


def test_the_page_says_what_is_not_as_promised() -> None:
    counted = count(Period("stopped", 10.0, 20.0), [sample(11)], [])
    assert page.problems([counted], STORED) == []
    wrong = count(Period("stopped", 10.0, 20.0), [sample(11)], [11.0])
    lost = Stored(10, 5, ("login 3",), ("login 4",), 100, 7, 3, 0)
    assert page.problems([wrong], lost) == [
        "1 wrong grants",
        "changes lost: login 3",
        "changes without an end: login 4",
        "7 tokens without a record",
    ]
    assert "**Not as promised: 1 wrong grants;" in page.written([wrong], lost, 100, {})


def test_nginx_is_as_the_documentation_says() -> None:
    parameters, location = advised()
    assert parameters == "max_fails=0"
    assert "proxy_next_upstream error timeout http_503 non_idempotent;" in location
