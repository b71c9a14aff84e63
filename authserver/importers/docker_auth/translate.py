"""Translate the ordered entries of docker_auth's ACL into rules whose order does not matter.

An entry becomes an allow rule for its actions. A later entry may give more to requests that an
earlier one matches. Then the earlier entry becomes a deny rule for the rest too, if that deny takes
nothing from the entries before it. Where such a deny cannot be written, the later entry is left
out: an import may give less than docker_auth did, never more.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from authserver.core.commands import program
from authserver.core.rules import ACTIONS, ALL, Effect, Rule, new_rule, rule_actions
from authserver.core.subjects import Subject, SubjectKind
from authserver.importers.docker_auth.config import AclEntry, Config
from authserver.importers.docker_auth.coverage import (
    EntryClaim,
    ImportContext,
    ImportProblem,
    claims,
)
from authserver.importers.docker_auth.evaluate import NO_CREDENTIALS
from authserver.importers.docker_auth.name_patterns import is_pattern
from authserver.importers.docker_auth.region import OTHERS, Region

MAX_LISTED = 5


class ClaimState(StrEnum):
    """How the translation of one claim ended."""

    TAKEN = "taken"
    NARROWED = "taken in part"
    IDLE = "no effect"
    LEFT = "not taken"


@dataclass(frozen=True, slots=True)
class ClaimVerdict:
    """How the translation of one claim ended, and why if the claim was not taken as it is.

    ``region`` is the part that was taken, less than the claim's if it was taken in part.
    """

    claim: EntryClaim
    state: ClaimState
    problems: tuple[ImportProblem, ...] = ()
    region: Region | None = None

    def gives(self, region: Region) -> frozenset[str]:
        """Return the actions that it gives within ``region``."""
        met = self.region is not None and self.region.meets(region)
        return self.claim.actions if met else frozenset()


@dataclass(frozen=True, slots=True)
class Draft:
    """A rule to write, and the entry that it comes from."""

    entry: AclEntry
    rule: Rule


@dataclass(frozen=True, slots=True)
class Translation:
    """The rules, and the verdicts on all claims. An entry without a verdict has no effect here."""

    verdicts: tuple[ClaimVerdict, ...]
    drafts: tuple[Draft, ...]

    def of(self, entry: AclEntry) -> list[ClaimVerdict]:
        return [v for v in self.verdicts if v.claim.entry is entry]

    def rules(self) -> list[Rule]:
        """Return the rules, numbered from 1 in the order of ``drafts``."""
        return [replace(draft.rule, id=n) for n, draft in enumerate(self.drafts, 1)]


Contested = Collection[tuple[int, str]]
"""Claims that must not be taken, by line and resource type."""


def translate(config: Config, context: ImportContext, contested: Contested = ()) -> Translation:
    """Translate the ACL without the ``contested`` claims."""
    verdicts: list[ClaimVerdict] = []
    drafts: list[Draft] = []
    for kind in ACTIONS:
        candidates = (claim for entry in config.entries for claim in claims(entry, context))
        part = _KindTranslation(context, [c for c in candidates if c.region.type == kind])
        part.run(contested)
        verdicts += part.verdicts
        drafts += part.drafts()
    order = {id(entry): number for number, entry in enumerate(config.entries)}
    drafts.sort(key=lambda draft: order[id(draft.entry)])
    return Translation(tuple(verdicts), tuple(drafts))


@dataclass
class _KindTranslation:
    """One resource type's claims, in the order of the file."""

    context: ImportContext
    claims: Sequence[EntryClaim]
    verdicts: list[ClaimVerdict] = field(default_factory=list)
    denied: dict[tuple[int, Region], frozenset[str]] = field(default_factory=dict)

    def run(self, contested: Contested) -> None:
        for number, claim in enumerate(self.claims):
            self.verdicts.append(self._judged(number, claim, contested))
        self.verdicts = [self._public(verdict) for verdict in self.verdicts]

    def _judged(self, number: int, claim: EntryClaim, contested: Contested) -> ClaimVerdict:
        if idle := self._idle(number, claim):
            return ClaimVerdict(claim, ClaimState.IDLE, (idle,))
        problems = (*claim.obstacles, *claim.faults)
        if (claim.entry.line, claim.region.type) in contested:
            problems += (_CONTESTED,)
        if problems:
            return ClaimVerdict(claim, ClaimState.LEFT, problems)
        return self._taken(number, claim) or self._narrowed(number, claim)

    def _taken(self, number: int, claim: EntryClaim) -> ClaimVerdict | None:
        """Take all of a claim with the denies that it needs; None if one of them has no form."""
        cuts = self._cuts(number, claim)
        if any(isinstance(cut, ImportProblem) for cut in cuts.values()):
            return None
        for cut in cuts.values():
            if not isinstance(cut, ImportProblem):
                self.denied[cut.key] = self.denied.get(cut.key, frozenset()) | cut.actions
        return ClaimVerdict(claim, ClaimState.TAKEN, claim.remarks, claim.region)

    def _narrowed(self, number: int, claim: EntryClaim) -> ClaimVerdict:
        """Take a claim on all accounts only for the known ones that no entry before it cuts."""
        cuts = self._cuts(number, claim).items()
        problem = next(cut for _, cut in cuts if isinstance(cut, ImportProblem))
        uncut = [
            self.claims[n].region.accounts for n, cut in cuts if isinstance(cut, ImportProblem)
        ]
        kept = (claim.region.accounts & frozenset(self.context.accounts)).difference(*uncut)
        if OTHERS not in claim.region.accounts or not kept:
            return ClaimVerdict(claim, ClaimState.LEFT, (problem,))
        narrow = replace(claim, region=replace(claim.region, accounts=kept))
        taken = self._taken(number, narrow)
        if taken is None:
            return ClaimVerdict(claim, ClaimState.LEFT, (problem,))
        return ClaimVerdict(claim, ClaimState.NARROWED, (_only(problem, kept),), narrow.region)

    def _cuts(self, number: int, claim: EntryClaim) -> "dict[int, _Cut | ImportProblem]":
        return {earlier: self._cut(earlier, claim) for earlier in self._cutting(number, claim)}

    def _idle(self, number: int, claim: EntryClaim) -> ImportProblem | None:
        """Return why docker_auth never reaches this claim, None if it may."""
        if not claim.region.accounts and not claim.obstacles:
            return ImportProblem(
                'docker_auth lets no request without credentials in: users has no "": {}',
                f"{program()} acl allow anonymous PATTERN ACTIONS, if you want it now",
            )
        if claim.idle:
            return claim.idle
        for earlier in self.claims[:number]:
            if earlier.exact and _covers(earlier, claim):
                return ImportProblem(
                    f"never reached: line {earlier.entry.line} matches all that it matches",
                    "remove it",
                )
        return None

    def _cutting(self, number: int, claim: EntryClaim) -> list[int]:
        """Return the numbers of the earlier claims that may give less where both match."""
        return [
            earlier
            for earlier in range(number)
            if self.verdicts[earlier].state is not ClaimState.IDLE
            and claim.actions - self.claims[earlier].actions
            and self.claims[earlier].region.meets(claim.region)
        ]

    def _cut(self, earlier: int, later: EntryClaim) -> "_Cut | ImportProblem":
        """Return the deny that keeps the later claim from widening the earlier one."""
        cutting = self.claims[earlier]
        line = cutting.entry.line
        if cutting.obstacles:
            return ImportProblem(
                f"line {line} comes first and gives less, and cannot be taken",
                f"settle line {line} first",
            )
        actions = _denied(cutting.region.type, later.actions - cutting.actions)
        if not actions:
            return ImportProblem(
                f"line {line} comes first and gives no '*'",
                f"write pull, push, delete instead of '*' here, or '*' in line {line}",
            )
        for region in (cutting.region, cutting.region.common(later.region)):
            if region and _sayable(region) and not self._harmed(region, actions, earlier):
                return _Cut((earlier, region), actions)
        return self._uncut(earlier, actions)

    def _uncut(self, earlier: int, actions: frozenset[str]) -> ImportProblem:
        line = self.claims[earlier].entry.line
        harmed = self._harmed(self.claims[earlier].region, actions, earlier)
        why = (
            f"would also take from line {', '.join(map(str, harmed))}" if harmed else "has no form"
        )
        return ImportProblem(
            f"line {line} comes first and gives less, and a deny of the rest {why}",
            f"allow it to a group of accounts that line {line} does not match",
        )

    def _harmed(self, region: Region, actions: frozenset[str], before: int) -> list[int]:
        """Return the lines of earlier claims from which a deny would take something."""
        taken = _all_of(region.type, actions)
        return [
            verdict.claim.entry.line
            for verdict in self.verdicts[:before]
            if verdict.gives(region) & taken
        ]

    def _public(self, verdict: ClaimVerdict) -> ClaimVerdict:
        """Leave a claim out if our rules would give it to accounts as well as to anonymous."""
        claim, region = verdict.claim, verdict.region
        if region is None or NO_CREDENTIALS not in region.accounts or not claim.actions:
            return verdict
        others = self.context.decided - region.accounts
        for other in self.verdicts:
            if other.region and other.claim.actions >= claim.actions:
                same = replace(region, accounts=others & other.region.accounts)
                others -= same.accounts if other.region.covers(same) else frozenset()
        if not others:
            return verdict
        return ClaimVerdict(claim, ClaimState.LEFT, (_PUBLIC,))

    def drafts(self) -> Iterator[Draft]:
        for number, verdict in enumerate(self.verdicts):
            claim = verdict.claim
            if (
                verdict.region
                and claim.actions
                and not self._covered_before(number, verdict.region)
            ):
                yield Draft(claim.entry, self._rule(Effect.ALLOW, verdict.region, claim.actions))
            for (denying, region), actions in self.denied.items():
                if denying == number:
                    rules = (self._rule(Effect.DENY, r, actions) for r in _possible(region))
                    yield from (Draft(claim.entry, rule) for rule in rules)

    def _covered_before(self, number: int, region: Region) -> bool:
        actions = self.claims[number].actions
        return any(
            v.region and v.region.covers(region) and v.claim.actions >= actions
            for v in self.verdicts[:number]
        )

    def _rule(self, effect: Effect, region: Region, actions: frozenset[str]) -> Rule:
        return new_rule(
            effect,
            _subjects(region.accounts, self.context),
            [pattern.text for pattern in region.patterns],
            ALL if ALL in actions else ",".join(sorted(actions)),
            resource_type=region.type,
            service=region.service,
            **region.conditions.values(),
        )


def _covers(earlier: EntryClaim, later: EntryClaim) -> bool:
    """Whether the earlier claim matches all that the later one does."""
    everyone = OTHERS in earlier.region.accounts
    return (everyone or later.impossible <= earlier.impossible) and earlier.region.covers(
        later.region
    )


@dataclass(frozen=True, slots=True)
class _Cut:
    key: tuple[int, Region]
    actions: frozenset[str]


_CONTESTED = ImportProblem(
    "with it, the rules would decide differently from docker_auth", "write the rule by hand"
)
_PUBLIC = ImportProblem(
    "what anonymous may do, every account may do too, and in docker_auth not every account may",
    "authserver acl allow everyone PATTERN ACTIONS, if accounts may have it",
)


def _only(problem: ImportProblem, kept: frozenset[str]) -> ImportProblem:
    listed = ", ".join(sorted(kept)) if len(kept) <= MAX_LISTED else f"{len(kept)} known accounts"
    return ImportProblem(f"only for {listed}, no others: {problem.reason}", problem.remedy)


def _denied(kind: str, actions: frozenset[str]) -> frozenset[str]:
    """Return the actions of a deny rule for these; empty if ``*`` is all that is to be denied.

    A deny of anything takes a requested ``*`` away already.
    """
    names = actions - {ALL}
    if set(ACTIONS[kind]) - {ALL} <= names:
        return frozenset({ALL})
    return rule_actions(Effect.DENY, kind, ",".join(sorted(names))) if names else frozenset()


def _all_of(kind: str, actions: frozenset[str]) -> frozenset[str]:
    """Return all actions that a deny of these takes away."""
    return frozenset(ACTIONS[kind]) if ALL in actions else actions | {ALL}


def _sayable(region: Region) -> bool:
    """Whether a deny rule can cover the whole region.

    ``{account}`` matches nothing for a name that is not a path component. A deny with it would
    miss such accounts among those that the file does not name.
    """
    return bool(region.patterns) and not (region.has_account_names and OTHERS in region.accounts)


def _possible(region: Region) -> Iterator[Region]:
    """Yield the region for each account name, without patterns that then match nothing."""
    for one in region.for_each_name():
        patterns = tuple(pattern for pattern in one.patterns if is_pattern(pattern.text))
        if region.type != "repository" or patterns == one.patterns:
            yield one
        elif patterns:
            yield replace(one, patterns=patterns)


def _subjects(accounts: frozenset[str], context: ImportContext) -> tuple[Subject, ...]:
    if OTHERS in accounts:
        public = NO_CREDENTIALS in accounts
        return (Subject(SubjectKind.EVERYONE if public else SubjectKind.AUTHENTICATED),)
    anonymous = (Subject(SubjectKind.ANONYMOUS),) if NO_CREDENTIALS in accounts else ()
    names = sorted(accounts - {NO_CREDENTIALS})
    return (*anonymous, *(Subject(SubjectKind(context.accounts[n].value), n) for n in names))
