"""Compare docker_auth's decisions with ours before the import writes anything."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from authserver.core.conditions import Circumstances
from authserver.core.decision import decide
from authserver.core.errors import Refused
from authserver.core.names import is_path_component
from authserver.core.rules import ACTIONS, ALL, Rule
from authserver.core.scope import Scope
from authserver.core.subjects import Account, AccountKind
from authserver.importers.docker_auth.config import AclEntry, Config
from authserver.importers.docker_auth.coverage import ImportContext
from authserver.importers.docker_auth.evaluate import (
    NO_CREDENTIALS,
    AclOutcome,
    AclRequest,
    matches_text,
    outcomes,
)
from authserver.importers.docker_auth.sample_requests import cases
from authserver.importers.docker_auth.translate import (
    ClaimState,
    ClaimVerdict,
    Translation,
    translate,
)

Progress = Callable[[int, int], object]

_PROGRESS_STEP = 200


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A request that the rules decide differently, and the claims (line, type) that cause it."""

    request: AclRequest
    actions: frozenset[str]
    blamed: frozenset[tuple[int, str]]


@dataclass(frozen=True, slots=True)
class AgreedTranslation:
    """A translation, and the number of requests on which both programs decide alike."""

    translation: Translation
    cases: int


def agreed(
    config: Config, context: ImportContext, progress: Progress = lambda *_: None
) -> AgreedTranslation:
    """Translate the ACL, without the claims on which the decisions differ.

    ``progress`` gets the number of compared requests and the total; it may start again from zero.

    Raises:
        Refused: the decisions differ even without these claims, which would be our own fault.
    """
    contested: frozenset[tuple[int, str]] = frozenset()
    while True:
        translation = translate(config, context, contested)
        requests = list(cases(config, [v.claim for v in translation.verdicts], context))
        differences = disagreements(config, context, translation, _counted(requests, progress))
        blamed = frozenset(claim for each in differences for claim in each.blamed)
        if not blamed:
            return AgreedTranslation(translation, len(requests))
        if blamed <= contested:
            lines = ", ".join(str(line) for line, _ in sorted(blamed))
            raise Refused(f"the rules for line {lines} decide differently: please report this")
        contested |= blamed


def _counted(requests: Sequence[AclRequest], progress: Progress) -> Iterator[AclRequest]:
    for done, request in enumerate(requests, 1):
        yield request
        if done % _PROGRESS_STEP == 0 or done == len(requests):
            progress(done, len(requests))


def disagreements(
    config: Config, context: ImportContext, translation: Translation, requests: Iterable[AclRequest]
) -> Iterator[Disagreement]:
    """Yield the requests to which we give more than docker_auth, or less than a taken claim does.

    ``{account}`` covers nothing for a name that is not a path component, so less is right there.
    """
    both = _Both(config, context, translation.rules())
    lines = dict(enumerate((draft.entry.line for draft in translation.drafts), 1))
    verdicts = {(id(v.claim.entry), v.claim.region.type): v for v in translation.verdicts}
    for request in requests:
        granted, deciding_rules = both.granted_by_rules(request)
        theirs = both.outcomes_by_entries(request)
        least = frozenset.intersection(*(outcome.granted for outcome in theirs))
        if context.closed and request.account not in context.accounts:
            # An account that is made later may do what anonymous may: _public allows that.
            least |= both.least_for_anonymous(request)
        if wider := granted - least:
            blamed = frozenset((lines[number], request.type) for number in deciding_rules)
            yield Disagreement(request, wider, blamed)
        sure = theirs[0] if len(theirs) == 1 else AclOutcome(frozenset(), None)
        verdict = verdicts.get((id(sure.entry), request.type))
        if verdict and sure.granted - granted and _promised(verdict, request):
            blamed = frozenset({(verdict.claim.entry.line, request.type)})
            yield Disagreement(request, sure.granted - granted, blamed)


def _promised(verdict: ClaimVerdict, request: AclRequest) -> bool:
    """Whether the translation took the entry for the account of the request."""
    region = verdict.region
    if region is None:
        return False
    if verdict.state is not ClaimState.TAKEN and request.account not in region.accounts:
        return False
    return not region.has_account_names or is_path_component(request.account)


@dataclass
class _Both:
    """Both programs. Entries and rules are filtered once for each account, not for each request."""

    config: Config
    context: ImportContext
    rules: Sequence[Rule]
    entries_for: dict[str, list[AclEntry]] = field(default_factory=dict)
    rules_for: dict[str, list[Rule]] = field(default_factory=dict)

    def outcomes_by_entries(self, request: AclRequest) -> list[AclOutcome]:
        name = request.account
        if name == NO_CREDENTIALS and not self.config.anonymous:
            return [AclOutcome(frozenset(), None)]
        if name not in self.entries_for:
            self.entries_for[name] = [
                entry
                for entry in self.config.entries
                if matches_text(entry.match.account, name) is not False
            ]
        return outcomes(self.entries_for[name], request, frozenset(ACTIONS[request.type]))

    def least_for_anonymous(self, request: AclRequest) -> frozenset[str]:
        theirs = self.outcomes_by_entries(replace(request, account=NO_CREDENTIALS))
        return frozenset.intersection(*(outcome.granted for outcome in theirs))

    def granted_by_rules(self, request: AclRequest) -> tuple[frozenset[str], set[int]]:
        """Return the actions that we grant, and the numbers of the rules that decide."""
        account = self._account(request.account)
        if request.account not in self.rules_for:
            binding = [rule for rule in self.rules if rule.binds(account) or rule.binds(None)]
            self.rules_for[request.account] = binding
        granted: set[str] = set()
        by: set[int] = set()
        # We answer a requested * with names too, which docker_auth was not asked for: ask apart.
        names = tuple(action for action in ACTIONS[request.type] if action != ALL)
        for actions in (names, (ALL,)):
            decision = decide(
                self.rules_for[request.account],
                account,
                request.service,
                Scope(request.type, request.name, actions),
                circumstances=Circumstances(request.address),
            )
            granted |= set(decision.granted) & set(actions)
            by |= {reason.rule.id for reason in decision.reasons if reason.rule}
        return frozenset(granted), by

    def _account(self, name: str) -> Account | None:
        if name == NO_CREDENTIALS:
            return None
        return Account(name, self.context.accounts.get(name, AccountKind.USER))
