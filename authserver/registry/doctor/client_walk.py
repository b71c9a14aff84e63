"""The client walk: pull, push, delete and catalog with real tokens, leaving nothing behind.

The account of the walk gets its tokens from our own token endpoint.
"""

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from secrets import token_hex
from urllib.parse import urlencode, urlsplit

from authserver.core.commands import shell_command
from authserver.core.errors import Refused
from authserver.core.names import printable
from authserver.registry.distribution import parsing
from authserver.registry.doctor.challenge import parse
from authserver.registry.doctor.expected import Expected
from authserver.registry.doctor.findings import DoctorFinding, failed, not_tried, passed
from authserver.registry.doctor.http import Fetcher, HttpAnswer, Remote, Unreachable
from authserver.registry.doctor.realm import token_in

_MANIFESTS = (
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
)
_LOG = "look at the registry's log, and at that of the proxy in front of it"


_tag = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_digest = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class WalkAccount:
    """A name and its password or app token; without a name, anonymous."""

    name: str = ""
    password: str = field(default="", repr=False)

    def __str__(self) -> str:
        return self.name or "anonymous"


@dataclass(frozen=True)
class GrantedToken:
    """A registry token from our endpoint, and the actions that it grants on the asked scope."""

    token: str = field(repr=False)
    actions: frozenset[str]

    def grants(self, *actions: str) -> bool:
        return self.actions.issuperset(actions) or "*" in self.actions


def ask(fetcher: Fetcher, expected: Expected, account: WalkAccount, scope: str) -> GrantedToken:
    """Fetch a token for ``scope``. The password goes to our own realm and to no other.

    Raises:
        Refused: our endpoint gave no token.
        Unreachable: our endpoint does not answer.
    """
    query = {"service": expected.service, "scope": scope, "client_id": "authserver-doctor"}
    headers = {}
    if account.name:
        pair = base64.b64encode(f"{account.name}:{account.password}".encode()).decode()
        headers["Authorization"] = f"Basic {pair}"
    answer = fetcher.fetch(f"{expected.realm}?{urlencode(query)}", headers=headers)
    token = token_in(answer)
    if token is None:
        raise Refused(
            f"{expected.realm} answers {answer.status} and no token. {answer.error}".strip()
        )
    return GrantedToken(token, _actions(token, scope))


def _actions(token: str, scope: str) -> frozenset[str]:
    resource = tuple(scope.rpartition(":")[0].split(":", 1))
    access = parsing.read(token).claims.get("access")
    entries = [entry for entry in access if isinstance(entry, dict)] if access else []
    return frozenset(
        str(action)
        for entry in entries
        if (entry.get("type"), entry.get("name")) == resource
        for action in entry.get("actions") or ()
    )


@dataclass(frozen=True)
class ClientWalk:
    """The four operations of clients, tried on one repository."""

    remote: Remote
    expected: Expected
    account: WalkAccount
    repository: str

    def run(self) -> list[DoctorFinding]:
        """Return a finding for each step."""
        steps = (
            ("walk.pull", self._repository("pull"), self._pull),
            ("walk.push", self._repository("pull,push"), self._push),
            ("walk.delete", self._repository("delete"), self._delete),
            ("walk.catalog", "registry:catalog:*", self._catalog),
        )
        return [self._step(check, scope, go) for check, scope, go in steps]

    def _repository(self, actions: str) -> str:
        return f"repository:{self.repository}:{actions}"

    def _step(
        self, check: str, scope: str, go: Callable[[str, str], DoctorFinding]
    ) -> DoctorFinding:
        try:
            granted = self._ask(scope)
            if not granted.grants(*scope.rpartition(":")[2].split(",")):
                return self._not_granted(check, scope)
            return go(check, granted.token)
        except Refused as error:
            return failed(check, str(error), "make the name and the password right, or start it")
        except Unreachable as error:
            return failed(check, str(error), error.cure)

    def _ask(self, scope: str) -> GrantedToken:
        return ask(self.remote.fetcher, self.expected, self.account, scope)

    def _not_granted(self, check: str, scope: str) -> DoctorFinding:
        why = f"the rules do not grant {self.account} {scope}"
        dash = ["--"] if str(self.account).startswith("-") else []
        explain = shell_command("acl", "explain", *dash, self.account, scope)
        cure = f"if they should: `{explain}`"
        # An operator who names a repository expects at least a pull to work.
        return failed(check, why, cure) if check == "walk.pull" else not_tried(check, why, cure)

    def _pull(self, check: str, token: str) -> DoctorFinding:
        answer = self.remote.ask(f"/v2/{self.repository}/tags/list", token=token)
        if answer.status == 200:
            return passed(check, f"{self.account} pulls from {self.repository}")
        if answer.status == 404:
            return passed(check, f"{self.account} may pull; {self.repository} does not exist")
        return _unexpected(check, answer)

    def _push(self, check: str, token: str) -> DoctorFinding:
        """Mount a blob of the repository onto itself; without a blob, put an invalid manifest."""
        digest = self._blob(token)
        if digest is None:
            return self._put_invalid(check, token)
        mount = urlencode({"mount": digest, "from": self.repository})
        uploads = f"/v2/{self.repository}/blobs/uploads/?{mount}"
        answer = self.remote.ask(uploads, "POST", token=token, body=b"")
        location = self.remote.resolved(str(answer.headers["Location"] or ""))
        if answer.status == 202:
            self._cancel(location, token)
        if answer.status not in (201, 202):
            return _unexpected(check, answer)
        if not self.remote.is_own(location):
            return _foreign_upload(check, location)
        return passed(check, f"{self.account} may push, and is sent to the registry's own URL")

    def _blob(self, token: str) -> str | None:
        """Return the digest of a blob in the repository, None if it has no tagged image."""
        match self.remote.ask(f"/v2/{self.repository}/tags/list?n=1", token=token).json():
            case {"tags": [str(tag), *_]} if _tag.fullmatch(tag):
                path = f"/v2/{self.repository}/manifests/{tag}"
            case _:
                return None
        match self.remote.ask(path, token=token, headers={"Accept": ", ".join(_MANIFESTS)}).json():
            case {"config": {"digest": str(digest)}} if _digest.fullmatch(digest):
                return digest
        return None

    def _cancel(self, location: str, token: str) -> None:
        # A registry that does not mount the blob begins an upload instead.
        parts = urlsplit(location)
        self.remote.ask(f"{parts.path}?{parts.query}", "DELETE", token=token)

    def _put_invalid(self, check: str, token: str) -> DoctorFinding:
        """Put an invalid manifest: a registry parses it only after it accepts the token."""
        answer = self.remote.ask(
            f"/v2/{self.repository}/manifests/doctor-{token_hex(8)}",
            "PUT",
            token=token,
            headers={"Content-Type": _MANIFESTS[0]},
            body=b"no manifest",
        )
        if answer.status == 400:
            return passed(check, f"{self.account} may push; there is no image to mount blobs of")
        return _unexpected(check, answer)

    def _delete(self, check: str, token: str) -> DoctorFinding:
        digest = f"sha256:{token_hex(32)}"
        path = f"/v2/{self.repository}/manifests/{digest}"
        answer = self.remote.ask(path, "DELETE", token=token)
        if answer.status == 404:
            return passed(
                check, f"{self.account} may delete; the manifest that was named does not exist"
            )
        if answer.status == 405:
            return failed(
                check,
                "the registry deletes nothing: it answers 405",
                "set `storage: {delete: {enabled: true}}` in its config.yml and restart it",
            )
        return _unexpected(check, answer)

    def _catalog(self, check: str, token: str) -> DoctorFinding:
        answer = self.remote.ask("/v2/_catalog?n=1", token=token)
        if answer.status == 200:
            return passed(check, f"{self.account} lists the catalog")
        return _unexpected(check, answer)


def _unexpected(check: str, answer: HttpAnswer) -> DoctorFinding:
    challenge = parse(answer.headers)
    if answer.status == 401 and challenge is not None:
        error = printable(challenge.error or "no token was seen", 60)
        return failed(
            check,
            f"the registry refuses the token that our rules grant: {error}",
            "see the finding `token`; if that passed, the proxy in front changes paths or headers",
        )
    return failed(check, f"the registry answers {answer.status}. {answer.error}".strip(), _LOG)


def _foreign_upload(check: str, location: str) -> DoctorFinding:
    return failed(
        check,
        f"the registry sends uploads to {printable(location, 200)}, which is another place than "
        "its URL",
        "set `http: {relativeurls: true}` in its config.yml, or have the proxy pass Host and "
        "X-Forwarded-Proto on; restart it",
    )
