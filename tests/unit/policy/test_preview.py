"""Previews: what one change of a rule does is what the plan of the whole store says."""

from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from authserver.core.errors import NotFound, Refused
from authserver.db import accounts, rule_rows, rules
from authserver.db.models import RuleRow
from authserver.db.store import Change, Store
from authserver.policy.files import current_state, effects, preview
from authserver.policy.files.document import RuleEntry
from authserver.policy.files.execution import carry_out, no_progress
from authserver.policy.files.preview import Rehearsal, RulePreview, own_preview, step_between
from authserver.policy.files.steps import Step
from authserver.policy.files.store_copy import StoreCopy
from tests.unit.db.test_store import contents, do, group, said, user

Versions = tuple[RuleEntry | None, RuleEntry | None]


@pytest.fixture
def peopled(store: Store) -> Store:
    """alice and bob in dev, bob and carol in ops, dave in nothing and disabled."""
    do(store, *(user(name) for name in ("alice", "bob", "carol", "dave")))
    do(store, group("dev", "alice", "bob"), group("ops", "bob", "carol"))
    do(store, lambda c: accounts.set_disabled(c, "dave", disabled=True))
    return store


def entry(line: str, rule_id: int = 0, **more: Any) -> RuleEntry:
    return RuleEntry(replace(said(line, **more), id=rule_id))


def previewed(store: Store, before: RuleEntry | None, after: RuleEntry | None) -> RulePreview:
    with store.read() as session:
        rehearsal = Rehearsal.of(session, before, after)
    return rehearsal.preview()


def told(preview_: RulePreview) -> list[str]:
    return [str(change) for change in preview_.effects.changes]


def test_a_preview_tells_who_gains_and_changes_nothing(peopled: Store) -> None:
    do(peopled, lambda c: rules.add(c, said("allow user:alice team/** pull")))
    before = contents(peopled)
    preview_ = previewed(peopled, None, entry("allow group:dev,user:dave team/app pull,push"))
    assert told(preview_) == ["alice, bob gain push on team/app", "bob gains pull on team/app"]
    assert not preview_.warnings
    assert contents(peopled) == before


def test_a_preview_warns_of_a_rule_that_is_an_error(peopled: Store) -> None:
    preview_ = previewed(peopled, None, entry("allow everyone ** push"))
    assert [each.code for each in preview_.warnings] == ["public-write"]


def test_a_preview_refuses_what_the_change_would(peopled: Store) -> None:
    do(peopled, lambda c: rules.add(c, said("allow user:alice team/** pull", enabled=False)))
    with pytest.raises(Refused, match="there already"):
        previewed(peopled, None, entry("allow user:alice team/** pull"))
    with pytest.raises(NotFound, match="nobody"):
        previewed(peopled, None, entry("allow user:nobody team/** pull"))


def test_the_same_rule_is_no_change(peopled: Store) -> None:
    same = entry("allow user:alice team/** pull", 1)
    assert previewed(peopled, same, same) == RulePreview(None, effects.StepEffects(), ())


def test_of_a_deny_on_much_not_all_is_told(peopled: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preview, "MAX_ALLOWS", 2)
    lines = [f"allow user:alice a{number} pull" for number in range(3)]
    do(peopled, *(lambda c, line=line: rules.add(c, said(line)) for line in lines))
    preview_ = previewed(peopled, None, entry("deny user:alice a* pull"))
    assert (len(preview_.effects.changes), preview_.effects.more) == (2, True)
    narrow = previewed(peopled, None, entry("deny user:alice a1 pull"))
    assert (told(narrow), narrow.effects.more) == (["alice loses pull on a1"], False)


SUBJECTS = ("user:alice", "user:bob", "user:dave", "group:dev", "group:ops", "anonymous")
PATTERNS = ("**", "a/**", "a/b", "a/*", "*/b", "{account}/**", "a/{account}", "b")

lines = st.builds(
    lambda effect, about, patterns, actions: " ".join(
        (effect, ",".join(about), ",".join(patterns), ",".join(actions))
    ),
    st.sampled_from(("allow", "deny")),
    st.lists(st.sampled_from((*SUBJECTS, "authenticated", "everyone")), min_size=1, max_size=2),
    st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=2),
    st.lists(st.sampled_from(("pull", "push", "delete")), min_size=1, max_size=2),
)


class _TakenBack(Exception):
    pass


def _planned(session: Session, step: Step) -> effects.StepEffects:
    """Return the effects by all that the store holds, as a plan of a file has them."""
    with StoreCopy.of(session).opened() as change:
        before = current_state.load(change.session)
        carry_out(change, [step])
        change.session.expire_all()
        after = current_state.load(change.session)
    (told_,) = effects.of([step], before, after, no_progress)
    return told_


@settings(
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    deadline=None,
)
@given(
    st.lists(lines, max_size=6, unique=True), lines, st.sampled_from(("add", "edit", "off", "gone"))
)
def test_a_preview_is_what_the_plan_of_the_whole_store_says(
    peopled: Store, there: list[str], line: str, act: str
) -> None:
    with suppress(_TakenBack), peopled.change("cli:tester") as change:
        _compare(change, there, line, act)
        raise _TakenBack


def _compare(change: Change, there: list[str], line: str, act: str) -> None:
    stored = [row for each in there if (row := _added(change, each)) is not None]
    versions = _versions(stored, line, act)
    step = step_between(*versions)
    if step is None:
        return
    rehearsal = Rehearsal.of(change.session, *versions)
    try:
        wanted = _planned(change.session, step)
    except Refused:
        with pytest.raises(Refused):
            rehearsal.preview()
    else:
        assert rehearsal.preview().effects == wanted


def _added(change: Change, line: str) -> RuleRow | None:
    try:
        return rules.add(change, said(line))
    except Refused:
        change.session.expunge_all()
        return None


def _versions(stored: list[RuleRow], line: str, act: str) -> Versions:
    if act == "add" or not stored:
        return None, entry(line)
    before = RuleEntry(rule_rows.as_rule(stored[0]))
    if act == "edit":
        effect = str(before.rule.effect)
        return before, entry(f"{effect} {line.partition(' ')[2]}", before.rule.id)
    off = replace(before, rule=replace(before.rule, enabled=False))
    return before, off if act == "off" else None


# Delegates.


def test_a_delegate_learns_only_of_their_own_rules() -> None:
    """Neither members nor other accounts nor others' rules: nothing is read."""
    own = [entry("allow group:dev team/app pull", 3), entry("allow user:bob team/** push", 4)]
    after = entry("allow group:dev,user:bob,user:0 team/app pull,push")
    assert told(own_preview(own, None, after)) == [
        "0 gains pull on team/app",
        "0, group:dev gain push on team/app",
    ]
    assert told(own_preview(own, own[1], None)) == ["bob loses pull,push on team/**"]
    own_names = entry("allow group:dev team/{account} pull")
    assert told(own_preview([], None, own_names)) == ["group:dev gains pull on team/{account}"]
