"""``authserver acl who-can``, and explaining with an app token's ceiling."""

from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from authserver.db import rules
from tests.cli.test_tokens import Run
from tests.world import PASSWORD, World

RULES = [
    ("allow", "user:alice", "team/**", "push"),
    ("allow", "group:readers", "team/*", "pull"),
    ("allow", "anonymous", "public/**", "pull"),
    ("allow", "authenticated", "{account}/**", "all"),
    ("deny", "user:bob", "team/secret", "pull"),
]


@pytest.fixture
def peopled(world: World) -> World:
    for name in ("alice", "bob", "carol"):
        world.user(name)
    world.group("readers", "bob", "carol")
    world.disable("carol")
    for effect, subject, pattern, actions in RULES:
        (world.allow if effect == "allow" else world.deny)(subject, pattern, actions)
    return world


@pytest.fixture
def run(peopled: World, data_dir: Path) -> Run:
    return Run(data_dir)


@pytest.mark.parametrize(
    ("action", "repository", "names"),
    [
        ("pull", "team/app", ["admin", "alice", "bob"]),
        ("push", "team/app", ["admin", "alice"]),
        ("pull", "team/secret", ["admin", "alice"]),
        ("pull", "public/app", ["anonymous", "admin", "alice", "bob"]),
        ("delete", "bob/app", ["admin", "bob"]),
        ("delete", "team/app", ["admin"]),
    ],
)
def test_everybody_who_may_is_named(
    run: Run, action: str, repository: str, names: list[str]
) -> None:
    assert [a["account"] for a in run.json("acl", "who-can", action, repository)] == names


def test_the_path_is_named(run: Run) -> None:
    said = run("acl", "who-can", "push", "team/app").stdout
    assert "alice" in said
    assert "push allowed by rule 3 (allow user:alice team/** pull,push on every registry)" in said


def test_nobody_is_an_answer(run: Run) -> None:
    run("user", "disable", "admin", "--force")
    done = run("acl", "who-can", "delete", "team/app")
    assert done.stdout == ""
    assert "Nobody may delete team/app on registry." in done.stderr


def test_an_impossible_name_is_refused(run: Run) -> None:
    run("acl", "who-can", "pull", "Team", status=1)
    run("acl", "who-can", "fly", "team/app", status=2)


@given(
    st.lists(st.sampled_from(list(product(("allow", "deny"), range(5), ("pull", "push", "all")))))
)
@hypothesis_settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_it_agrees_with_the_token_endpoint(
    peopled: World, run: Run, more: list[tuple[str, int, str]]
) -> None:
    with peopled.wiring.store.change("test") as change:
        for row in rules.listed(change.session):
            if row.comment == "more":
                rules.delete(change, row)
    subjects = ["user:alice", "user:bob", "group:readers", "everyone", "anonymous"]
    for effect, number, actions in dict.fromkeys(more):
        write = peopled.allow if effect == "allow" else peopled.deny
        try:
            write(subjects[number], "some/*", actions, comment="more")
        except Exception as error:  # noqa: BLE001 - pull and push may be stored alike
            assert "already" in str(error)  # noqa: PT017
    peopled.wiring.state.refresh()

    def may(name: str, action: str) -> bool:
        auth: Any = None if name == "anonymous" else (name, PASSWORD)
        granted = peopled.granted(f"scope=repository:some/app:{action}", auth=auth)
        return action in granted.get("repository:some/app", [])

    for action in ("pull", "push", "delete"):
        said = {a["account"] for a in run.json("acl", "who-can", action, "some/app")}
        assert said == {n for n in ("anonymous", "admin", "alice", "bob") if may(n, action)}


def test_explaining_with_a_token_cuts_by_its_ceiling(run: Run) -> None:
    made = run.json("token", "create", "alice", "--name", "t", "--scope", "repository:team/**:pull")
    question = ("alice", "repository:team/app:pull,push", "--token", str(made["id"]))
    said = run("acl", "explain", *question).stdout
    assert "granted: pull\n" in said
    assert "push is beyond what this credential may be used for" in said
    run("acl", "check", *question, status=1)
    run("acl", "explain", "bob", *question[1:], status=1)
    run("acl", "explain", *question[:3], "999", status=1)
