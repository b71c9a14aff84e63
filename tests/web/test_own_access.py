"""What I may do, asked of the API: the same as an administrator is told, and nothing of others."""

import json
from typing import Any

import pytest

from authserver.policy import access
from tests.web.test_api import ALICE, AS_ADMIN, call, got
from tests.web.visitor import Visitor
from tests.world import World

MARY = ("mary", ALICE[1])
QUESTIONS = ["team/app:pull,push", "team/secret/x:push", "vault/x:pull", "out/x:pull", "bad:x:y"]


@pytest.fixture
def office(world: World) -> World:
    for name in ("alice", "mary", "boss"):
        world.user(name)
    world.group("team", "alice", "mary")
    world.group("board", "boss")
    world.robot("deployer", owner="boss")
    world.allow("user:alice,user:boss,group:board", "home/{account}/**", "*")
    world.allow("group:team,group:board", "team/**", "pull,push", comment="the board's wish")
    world.deny("everyone,robot:deployer", "team/secret/**", "push")
    world.deny("group:team,user:boss", "out/**", "*")
    world.allow("anonymous,user:boss", "public/**", "pull")
    world.allow("group:board", "vault/**", "*")
    world.deny("group:board", "team/**", "push")
    disabled = world.allow("user:alice", "later/**", "pull")
    call(world, "PATCH", f"/rules/{disabled}", json={"enabled": False}, headers={"If-Match": "*"})
    return world


def explained(office: World, path: str, who: tuple[str, str], **question: Any) -> Any:
    asked = {"registry": "registry", "scopes": QUESTIONS} | question
    return call(office, "POST", path, who, 200, json=asked).json


def without_texts(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    kept = [{**each, "text": "", "except": [e["rule"] for e in each["except"]]} for each in entries]
    assert kept
    return kept


@pytest.mark.parametrize("who", [ALICE, MARY])
def test_what_i_may_do_is_what_an_administrator_sees(office: World, who: tuple[str, str]) -> None:
    own = got(office, "/me/effective", who)
    asked = got(office, f"/effective?account={who[0]}")
    assert without_texts(own["effective"]) == without_texts(asked["effective"])
    assert (own["account"], own["disabled"]) == (who[0], False)
    narrowed = got(office, "/me/effective?registry=registry&from=10.0.0.1", who)
    assert len(narrowed["effective"]) == len(own["effective"])
    own = explained(office, "/me/explain", who)
    asked = explained(office, "/explain", AS_ADMIN, account=who[0])
    for one, other in zip(own["scopes"], asked["scopes"], strict=True):
        assert (one["granted"], one["complete"]) == (other["granted"], other["complete"])
        assert [each["cause"] for each in one["reasons"]] == [e["cause"] for e in other["reasons"]]


@pytest.mark.parametrize("who", [ALICE, MARY])
def test_nobody_learns_there_of_others(office: World, who: tuple[str, str]) -> None:
    answers = [got(office, "/me/effective", who), explained(office, "/me/explain", who)]
    others = {"alice", "mary"} - {who[0]}
    for answer in answers:
        text = json.dumps(answer)
        assert "group:team" in text
        for word in ("boss", "board", "deployer", "wish", "later", *others):
            assert word not in text, word
    # The names that only others may use are in no rule that comes close.
    assert "vault/**" not in json.dumps(answers[1])


def test_one_asks_with_the_bounds_of_ones_own_app_tokens_only(office: World) -> None:
    own, _ = office.app_token("alice", "repository:team/**:pull")
    other, _ = office.app_token("boss")
    question = {"registry": "registry", "scopes": ["team/app:pull,push"]}
    answer = explained(office, "/me/explain", ALICE, **question, token=own)
    assert answer["scopes"][0]["granted"] == ["pull"]
    for number in (other, 999):
        refused = call(office, "POST", "/me/explain", ALICE, 409, json=question | {"token": number})
        assert "boss" not in refused.text


def test_a_leaked_app_token_learns_nothing_of_what_its_account_may_do(office: World) -> None:
    _, secret = office.app_token("alice", "repository:team/app:pull")
    call(office, "GET", "/me/effective", ("alice", secret), 403)
    question = {"registry": "registry", "scopes": ["team/app:pull"]}
    call(office, "POST", "/me/explain", ("alice", secret), 403, json=question)
    call(office, "GET", "/me/effective?account=boss", ALICE, 422)
    call(office, "POST", "/me/explain", ALICE, 422, json=question | {"account": "boss"})
    assert call(office, "POST", "/me/explain", AS_ADMIN, 200, json=question).status_code == 200


def test_nobody_asks_for_more_work_than_some_seconds(
    office: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "MAX_COMPARED", 2)
    refused = call(office, "GET", "/me/effective", ALICE, 409)
    assert "ask about one repository" in refused.text
    got(office, "/effective?account=alice")
    explained(office, "/me/explain", ALICE)


def test_a_question_about_oneself_has_few_scopes_also_in_one_text(office: World) -> None:
    asked = {"registry": "registry", "scopes": [" ".join(f"x{n}:pull" for n in range(21))]}
    refused = call(office, "POST", "/me/explain", ALICE, 409, json=asked)
    assert "at most 20 scopes" in refused.text
    explained(office, "/explain", AS_ADMIN, account="alice", scopes=asked["scopes"])
    explained(office, "/me/explain", ALICE, scopes=[f"x{n}:pull" for n in range(20)])


@pytest.mark.parametrize("path", ["/me/tokens", "/me/sessions", "/me/console-sessions"])
def test_what_is_anothers_is_answered_as_what_is_not_there(office: World, path: str) -> None:
    office.app_token("mary")
    office.log_in("mary")
    visitor = Visitor(office)
    visitor.log_in("mary")
    texts = [call(office, "GET", f"{path}/{n}", ALICE, 404).text for n in (1, 99)]
    assert texts[0] == texts[1].replace("99", "1")
