"""What would be granted, and why: questions that the deciding function answers offline."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from authserver.core import scope
from authserver.core.errors import NotFound
from authserver.core.patterns import ACCOUNT
from authserver.core.policy import ANONYMOUS, Decision, Limit, decide
from authserver.core.scope import MalformedScope, Scope
from authserver.db.snapshot import KnownAccount, Snapshot


@dataclass(frozen=True)
class Answer:
    """The decisions on some scopes for one account (None: anonymous) on one registry.

    ``malformed`` has the texts that are no scopes, each with the reason.
    """

    service: str
    known: KnownAccount | None
    decisions: Sequence[Decision]
    malformed: dict[str, str]

    @property
    def name(self) -> str:
        return self.known.account.name if self.known else ANONYMOUS

    @property
    def disabled(self) -> bool:
        return self.known is not None and self.known.disabled

    @property
    def complete(self) -> bool:
        """Whether all of every scope would be granted."""
        return (
            not self.disabled
            and not self.malformed
            and bool(self.decisions)
            and all(decision.complete for decision in self.decisions)
        )

    def as_json(self) -> dict[str, Any]:
        return {
            "account": self.name,
            "registry": self.service,
            "disabled": self.disabled,
            "complete": self.complete,
            "scopes": [
                *map(decision_json, self.decisions),
                *(
                    {
                        "scope": text,
                        "granted": [],
                        "complete": False,
                        "reasons": [{"cause": "malformed", "text": why}],
                    }
                    for text, why in self.malformed.items()
                ),
            ],
        }


def explain(
    state: Snapshot,
    service: str,
    account: str,
    texts: Sequence[str],
    ceiling: Sequence[Limit] | None = None,
) -> Answer:
    """Decide scopes for an account of that name, or for ``anonymous``.

    Raises:
        NotFound: there is no such account in ``state``.
    """
    known = None if account == ANONYMOUS else state.accounts.get(account)
    if known is None and account != ANONYMOUS:
        raise NotFound(f"there is no account {account!r}")
    read, malformed = [], {}
    for text in scope.split(texts):
        try:
            read.append(scope.parse(text))
        except MalformedScope as error:
            malformed[text] = str(error)
    who = known.account if known else None
    decisions = [decide(state.rules, who, service, s, ceiling) for s in scope.merge(read)]
    return Answer(service, known, decisions, malformed)


def who_can(state: Snapshot, service: str, action: str, repository: str) -> Iterator[Answer]:
    """Give an answer for everybody, anonymous first, who may do ``action`` on ``repository``.

    Disabled accounts are left out: no token is issued to them.
    """
    asked = Scope("repository", repository, (action,))
    # Most rules speak of other repositories, which is told once and not for each account.
    rules = [
        rule
        for rule in state.rules
        if rule.type == asked.type
        and rule.service in (None, service)
        and (ACCOUNT in rule.pattern.text or rule.pattern.matches(repository, None))
    ]
    enabled = (known for _, known in sorted(state.accounts.items()) if not known.disabled)
    for known in (None, *enabled):
        decision = decide(rules, known.account if known else None, service, asked)
        if decision.complete:
            yield Answer(service, known, [decision], {})


def decision_json(decision: Decision) -> dict[str, Any]:
    """Return a decision for ``--json``."""
    return {
        "scope": str(decision.scope),
        "granted": list(decision.granted),
        "complete": decision.complete,
        "reasons": [
            {
                "cause": reason.cause,
                "actions": list(reason.actions),
                "rule": reason.rule.id if reason.rule else None,
                "text": str(reason),
            }
            for reason in decision.reasons
        ],
    }
