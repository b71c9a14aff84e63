"""What `make soak` judges by: a judge that takes everything would hold nothing."""

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.message import Message

import pytest

from authserver.keys import keyring
from authserver.keys.header_modes import signer_of
from authserver.keys.jose import Signer
from tests.e2e.fetching import Answer
from tests.soak import page
from tests.soak.bad_days import Run
from tests.soak.facts import Fact, Outage, Reach, Turn
from tests.soak.grants import ANSWERED_BY, Judge, Question, Rights, Verdict, Wrong
from tests.soak.load import Sample
from tests.soak.outcome import Answering, Period, Stored, count, longest_gap
from tests.soak.place import advised
from tests.soak.questions import ALWAYS, basic_question

NOW = datetime.now(UTC)
AUTHORITY = keyring.make_authority("authserver", NOW)
SIGNER = signer_of(keyring.make_leaf(AUTHORITY, NOW))
STORED = Stored(10, 5, (), (), 100, 0, 3, 0, "15 changes: all as written", "")
SERVER = "127.0.0.1:1"


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
    token = signer.sign(json.dumps(claims).encode(), now)
    return answered(200, json.dumps({"token": token}).encode())


def answered(status: int, body: bytes = b"", by: str = f"127.0.0.1:2, {SERVER}") -> Answer:
    """Return an answer of SERVER, which nginx asked after another."""
    headers = Message()
    headers[ANSWERED_BY] = by
    return Answer(status, headers, body)


def judge(*outages: tuple[float, float]) -> Judge:
    """Return a judge; SERVER lost the store between the times of each pair."""
    lost = [Outage(began, began + 0.1, ended - 0.1, ended) for began, ended in outages]
    reaches = {SERVER: Reach(60.0, lost), "127.0.0.1:2": Reach()}
    return Judge(AUTHORITY.certificate_pem(), reaches)


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


def test_a_server_that_reached_the_store_is_not_excused_by_another_that_did_not() -> None:
    lost_to_other = judge((100.5, 130.0))
    others = answer("pull", "push")
    others.headers.replace_header(ANSWERED_BY, "127.0.0.1:2")
    with pytest.raises(Wrong):
        lost_to_other.verdict(question(taken(100.0)), others, 120.0, 120.1)


def test_nothing_is_granted_too_long_after_the_store_was_lost() -> None:
    gone = judge((100.0, 200.0))
    assert gone.verdict(question(ALWAYS), answer("pull"), 160.0, 160.1).kind == "granted"
    with pytest.raises(Wrong, match="too long after the store was lost"):
        gone.verdict(question(ALWAYS), answer("pull"), 160.2, 160.3)
    assert gone.verdict(question(ALWAYS), answered(503), 160.2, 160.3).kind == "503"
    # It may be an answer of after the return.
    assert gone.verdict(question(ALWAYS), answer("pull"), 199.0, 199.95).kind == "granted"


def test_an_outage_is_from_when_the_store_was_lost_to_when_it_returned() -> None:
    reach = Reach(60.0)
    with reach.returning():  # it was never lost
        pass
    with reach.losing():
        assert reach.outages[0].lost == math.inf
    with reach.returning():
        assert reach.outages[0].returned == math.inf
    (outage,) = reach.outages
    assert outage.losing <= outage.lost <= outage.returning <= outage.returned < math.inf


def test_an_answer_of_nginx_itself_is_no_servers() -> None:
    refusal = answered(502, by="127.0.0.1:2, authserver")
    assert judge().verdict(question(ALWAYS), refusal, 1.0, 1.1) == Verdict("502")


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
    refusal = answered(401)
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
    other = signer_of(keyring.make_leaf(keyring.make_authority("authserver", NOW), NOW))
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


def test_it_is_counted_which_server_granted_and_until_when() -> None:
    samples = [Sample("password", at, at + 0.1, "granted", SERVER) for at in (11.0, 14.5, 25.0)]
    counted = count(Period("cut off", 10.0, 20.0), samples, [], [SERVER, "127.0.0.1:2"])
    assert counted.servers == (Answering(2, 4.5), Answering(0, None))


@pytest.mark.parametrize(
    ("at", "wanted", "unsettled"),
    [(18.0, ("ok", "failing"), 1), (18.0, ("failing", "failing"), 0), (17.0, ("ok", "ok"), 0)],
)
def test_at_the_end_of_a_phase_nothing_fails_where_a_server_is_well(
    at: float, wanted: tuple[str, ...], unsettled: int
) -> None:
    period = Period("cut off", 10.0, 20.0, wanted, wanted)
    samples = [sample(at, "503"), sample(19.0)]
    assert count(period, samples, []).unsettled == unsettled


def test_the_page_says_what_is_not_as_promised() -> None:
    counted = count(Period("stopped", 10.0, 20.0), [sample(11)], [])
    assert page.problems(Run([counted], STORED, [], 100)) == []
    period = Period("stopped", 10.0, 20.0, ("ok", "ok"), ("ok", "failing"))
    wrong = count(period, [sample(11), sample(19, "503")], [11.0])
    lost = Stored(10, 5, ("login 3",), ("login 4",), 100, 7, 3, 0, "", "record 17 is altered")
    run = Run([wrong], lost, [], 100)
    assert page.problems(run) == [
        "1 wrong grants",
        "changes lost: login 3",
        "changes without an end: login 4",
        "7 tokens without a record",
        "audit records: record 17 is altered",
        "stopped: the servers said ok, ok at its end",
        "stopped: 1 requests failed at its end",
    ]
    assert "**Not as promised: 1 wrong grants;" in page.written(run, {})


def test_nginx_is_as_the_documentation_says() -> None:
    parameters, location = advised()
    assert parameters == "max_fails=0"
    assert "proxy_next_upstream error timeout http_503 non_idempotent;" in location
