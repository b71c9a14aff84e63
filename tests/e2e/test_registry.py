"""Debian's registry with the section that we print, and the clients people use."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jwt
import pytest

from authserver.core.claims import Claims
from authserver.db.store import open_store
from authserver.keys import keyring, signing_keys
from authserver.keys.header_modes import signer_of
from authserver.keys.jose import KeyPair, Signer
from authserver.keys.private_keys import Safe
from authserver.runtime.settings import Settings
from tests import programs
from tests.e2e.fetching import Answer, ask_for_token, curl
from tests.e2e.images import Image, digest
from tests.e2e.lab import ADMIN, Done, Lab, account
from tests.world import wait_until

pytestmark = pytest.mark.e2e

PUSHER, READER, CLEANER = account("pusher"), account("reader"), account("cleaner")


# docker


def test_docker_login_takes_a_good_password(lab: Lab) -> None:
    programs.require("docker")
    done = _docker_login(lab, *READER)
    assert done.returncode == 0, done.stderr
    assert "Login Succeeded" in done.stdout
    assert lab.registry.host in json.loads((lab.home / "docker/config.json").read_text())["auths"]


def test_docker_login_says_why_a_wrong_password_is_refused(lab: Lab) -> None:
    programs.require("docker")
    done = _docker_login(lab, "reader", "a wrong one")
    told = ask_for_token(lab.realm, auth=("reader", "a wrong one")).json()["details"]
    assert done.returncode == 1
    assert told in done.stderr
    assert not (lab.home / "docker/config.json").exists()


def test_docker_reads_what_its_login_may_read(lab: Lab, image: Image) -> None:
    programs.require("docker", "skopeo")
    lab.push(image, "team/docker:1", PUSHER)
    assert _docker_reads(lab, "team/docker:1").returncode != 0
    _docker_login(lab, *READER)
    assert digest(image.layer) in _docker_reads(lab, "team/docker:1").stdout


def test_docker_without_a_login_reads_public_images_only(lab: Lab, image: Image) -> None:
    programs.require("docker", "skopeo")
    lab.push(image, "public/docker:1", ADMIN)
    lab.push(image, "private/docker:1", ADMIN)
    assert digest(image.layer) in _docker_reads(lab, "public/docker:1").stdout
    refused = _docker_reads(lab, "private/docker:1")
    assert refused.returncode != 0
    assert "denied" in refused.stderr


def _docker_login(lab: Lab, name: str, password: str) -> Done:
    return lab.docker(
        "login", "--username", name, "--password-stdin", lab.registry.host, stdin=password
    )


def _docker_reads(lab: Lab, reference: str) -> Done:
    return lab.docker("manifest", "inspect", "--insecure", f"{lab.registry.host}/{reference}")


# skopeo


def test_a_pushed_image_can_be_inspected_listed_and_pulled(
    lab: Lab, image: Image, tmp_path: Path
) -> None:
    programs.require("skopeo")
    lab.push(image, "team/pushed:1", PUSHER)
    lab.push(image, "team/pushed:2", PUSHER)
    inspected = lab.on("inspect", "team/pushed:1", READER)
    assert json.loads(inspected.stdout)["Digest"] == digest(image.manifest)
    listed = json.loads(lab.on("list-tags", "team/pushed", READER).stdout)
    assert sorted(listed["Tags"]) == ["1", "2"]
    pulled = tmp_path / "pulled"
    done = lab.copy(lab.image("team/pushed:1"), f"dir:{pulled}", read_as=READER)
    assert done.returncode == 0, done.stderr
    assert (pulled / "manifest.json").read_bytes() == image.manifest


def test_a_copy_across_repositories_mounts_the_blobs(lab: Lab, image: Image) -> None:
    programs.require("skopeo")
    lab.push(image, "team/origin:1", PUSHER)
    origin, target = lab.image("team/origin:1"), lab.image("mirror/copied:1")
    done = lab.copy(origin, target, read_as=PUSHER, write_as=PUSHER)
    assert done.returncode == 0, done.stderr
    assert lab.on("inspect", "mirror/copied:1", PUSHER).returncode == 0
    mounted = r'POST /v2/mirror/copied/blobs/uploads/\?\S*mount=\S+ HTTP/1.1" 201 '
    assert re.search(mounted, lab.registry.process.output())


def test_a_user_without_push_is_denied_and_leaves_nothing(lab: Lab, image: Image) -> None:
    programs.require("skopeo")
    before = lab.registry.stored()
    done = lab.copy(str(image), lab.image("team/denied:1"), write_as=READER)
    assert done.returncode != 0
    assert "denied" in done.stderr
    assert lab.registry.stored() == before
    assert "team/denied" not in _catalog(lab)


def test_a_user_without_any_right_is_denied_everything(lab: Lab, image: Image) -> None:
    programs.require("skopeo")
    stranger = account("stranger")
    lab.push(image, "team/closed:1", PUSHER)
    before = lab.registry.stored()
    assert lab.on("inspect", "team/closed:1", stranger).returncode != 0
    assert lab.on("list-tags", "team/closed", stranger).returncode != 0
    assert lab.on("delete", "team/closed:1", stranger).returncode != 0
    done = lab.copy(str(image), lab.image("team/closed:1"), write_as=stranger)
    assert done.returncode != 0
    assert lab.registry.stored() == before


def test_a_wrong_password_is_denied_even_on_a_public_repository(lab: Lab, image: Image) -> None:
    programs.require("skopeo")
    lab.push(image, "public/login:1", ADMIN)
    done = lab.on("inspect", "public/login:1", ("reader", "a wrong one"))
    assert done.returncode != 0
    assert "incorrect user name or password" in done.stderr


def test_anonymous_pulls_a_public_repository_and_nothing_else(lab: Lab, image: Image) -> None:
    programs.require("skopeo")
    lab.push(image, "public/open:1", ADMIN)
    lab.push(image, "private/open:1", ADMIN)
    before = lab.registry.stored()
    assert lab.on("inspect", "public/open:1", None).returncode == 0
    assert lab.on("inspect", "private/open:1", None).returncode != 0
    assert lab.copy(str(image), lab.image("public/open:2")).returncode != 0
    assert lab.on("delete", "public/open:1", None).returncode != 0
    assert lab.registry.stored() == before


def test_a_delete_needs_delete(lab: Lab, image: Image) -> None:
    programs.require("skopeo")
    lab.push(image, "team/old:1", PUSHER)
    assert lab.on("delete", "team/old:1", PUSHER).returncode != 0
    assert lab.on("inspect", "team/old:1", PUSHER).returncode == 0
    done = lab.on("delete", "team/old:1", CLEANER)
    assert done.returncode == 0, done.stderr
    assert "manifest unknown" in lab.on("inspect", "team/old:1", PUSHER).stderr


def test_a_deny_takes_delete_away(lab: Lab, image: Image) -> None:
    programs.require("skopeo")
    lab.push(image, "team/release:1", PUSHER)
    scope = "repository:team/release:*"
    assert _granted(lab.token(scope, who=CLEANER)) == {"pull", "delete"}
    lab.authserver.run("acl", "deny", "user:cleaner", "team/release", "delete")
    assert wait_until(
        lambda: all(_granted(lab.token(scope, who=CLEANER)) == {"pull"} for _ in range(10)), 5
    )
    assert lab.on("delete", "team/release:1", CLEANER).returncode != 0
    assert lab.on("inspect", "team/release:1", CLEANER).returncode == 0


# By hand


def test_the_documented_steps_work_with_curl(lab: Lab, image: Image) -> None:
    programs.require("curl", "skopeo")
    lab.push(image, "team/curl:1", PUSHER)
    url = lab.registry.url("/v2/team/curl/tags/list")
    assert "scope" not in curl(lab.registry.url("/v2/")).challenge
    asked = curl(url)
    assert asked.status == 401
    assert asked.challenge == {
        "realm": lab.realm,
        "service": "registry",
        "scope": "repository:team/curl:pull",
    }
    token = _curl_token(asked.challenge, READER)
    allowed = curl("--header", f"Authorization: Bearer {token}", url)
    assert (allowed.status, allowed.json()) == (200, {"name": "team/curl", "tags": ["1"]})
    checked = curl("--header", f"Authorization: Bearer {token}", lab.registry.url("/v2/"))
    assert checked.status == 200


def test_only_who_was_allowed_reads_the_catalog(lab: Lab, image: Image) -> None:
    programs.require("curl", "skopeo")
    lab.push(image, "team/listed:1", PUSHER)
    url = lab.registry.url("/v2/_catalog")
    challenge = curl(url).challenge
    assert challenge["scope"] == "registry:catalog:*"
    answers = {
        name: curl("--header", f"Authorization: Bearer {_curl_token(challenge, who)}", url)
        for name, who in {"admin": ADMIN, "pusher": PUSHER, "anonymous": None}.items()
    }
    assert {name: answer.status for name, answer in answers.items()} == {
        "admin": 200,
        "pusher": 401,
        "anonymous": 401,
    }
    assert "team/listed" in answers["admin"].json()["repositories"]


def test_a_mount_needs_pull_on_the_source(lab: Lab, image: Image) -> None:
    programs.require("skopeo")
    mounter = account("mounter")
    lab.push(image, "team/source:1", PUSHER)
    lab.push(image, "mounts/source:1", mounter)
    scopes = [f"repository:{name}:pull" for name in ("team/source", "mounts/source")]
    token = lab.token(*scopes, "repository:mounts/target:pull,push", who=mounter)
    before = lab.registry.stored()
    refused = _mount(lab, image, "team/source", "mounts/target", token)
    assert refused.status == 401
    assert "repository:team/source:pull" in refused.challenge["scope"]
    assert lab.registry.stored() == before
    assert _mount(lab, image, "mounts/source", "mounts/target", token).status == 201


def test_an_upload_needs_push_and_pull(lab: Lab, image: Image) -> None:
    before = lab.registry.stored()
    for actions in ("pull", "push"):
        token = lab.token(f"repository:team/half:{actions}", who=PUSHER)
        assert _granted(token) == {actions}
        assert lab.registry.push("team/half", "1", image, token).status == 401
    assert lab.registry.stored() == before


def test_a_first_segment_may_be_a_host(lab: Lab, image: Image) -> None:
    hosted = account("hosted")
    token = lab.token("repository:Example.com/x:pull,push", who=hosted)
    assert lab.registry.push("Example.com/x", "1", image, token).status == 201
    tags = lab.registry.ask("/v2/Example.com/x/tags/list", token=token)
    assert tags.json() == {"name": "Example.com/x", "tags": ["1"]}
    refused = lab.token("repository:Example.org/x:pull,push", who=hosted)
    assert lab.registry.push("Example.org/x", "1", image, refused).status == 401


def test_a_host_with_a_port_is_let_through_by_the_registry(lab: Lab, image: Image) -> None:
    """Its storage takes no colon, so what can be seen is that the token was enough."""
    scopes = [f"repository:localhost:{port}/x:pull,push" for port in (5000, 5001)]
    token = lab.token(*scopes, who=account("hosted"))
    assert lab.registry.push("localhost:5001/x", "1", image, token).status == 401
    let_through = lab.registry.push("localhost:5000/x", "1", image, token)
    assert let_through.json()["errors"][0]["detail"]["DriverName"] == "filesystem"


def _catalog(lab: Lab) -> list[str]:
    token = lab.token("registry:catalog:*", who=ADMIN)
    answer = lab.registry.ask("/v2/_catalog", token=token)
    assert answer.status == 200, answer.body
    return list(answer.json()["repositories"])


def _curl_token(challenge: dict[str, str], who: tuple[str, str] | None) -> str:
    parameters = [f"{name}={challenge[name]}" for name in ("service", "scope")]
    answer = curl(
        "--get",
        *(["--user", ":".join(who)] if who else []),
        *(part for parameter in parameters for part in ("--data-urlencode", parameter)),
        challenge["realm"],
    )
    assert answer.status == 200, answer.body
    return str(answer.json()["token"])


def _granted(token: str) -> set[str]:
    access = jwt.decode(token, options={"verify_signature": False})["access"]
    return {action for entry in access for action in entry["actions"]}


def _mount(lab: Lab, image: Image, source: str, target: str, token: str) -> Answer:
    query = f"mount={digest(image.layer)}&from={source}"
    path = f"/v2/{target}/blobs/uploads/?{query}"
    return lab.registry.ask(path, "POST", token=token, body=b"")


# Tokens that a registry must refuse


@pytest.fixture
def signing(lab: Lab) -> KeyPair:
    """Our signing key, to sign what we never would."""
    settings = Settings(data_dir=lab.authserver.data_dir)
    store = open_store(settings.store_url, lambda: datetime.now(UTC))
    with store.read() as session:
        pair = signing_keys.load_leaf(session, Safe.of(session, settings.master_key_path, None))
    store.engine.dispose()
    return pair


def test_a_token_that_we_sign_is_taken(lab: Lab, signing: KeyPair) -> None:
    assert _registry_says(lab, _signed(signer_of(signing))) == 200


def test_an_expired_token_is_refused(lab: Lab, signing: KeyPair) -> None:
    expired = _signed(signer_of(signing), datetime.now(UTC) - timedelta(minutes=10))
    assert _registry_says(lab, expired) == 401


def test_a_token_under_a_foreign_authority_is_refused(lab: Lab) -> None:
    now = datetime.now(UTC)
    foreign = keyring.make_leaf(keyring.make_authority("authserver", now), now)
    assert _registry_says(lab, _signed(signer_of(foreign))) == 401


def test_a_token_that_another_key_signed_is_refused(lab: Lab, signing: KeyPair) -> None:
    foreign = keyring.make_authority("authserver", datetime.now(UTC))
    forged = Signer(KeyPair(foreign.private, signing.certificate), signer_of(signing).headers)
    assert _registry_says(lab, _signed(forged)) == 401


def test_a_token_for_another_registry_is_refused(lab: Lab) -> None:
    assert _registry_says(lab, lab.token("registry:catalog:*", who=ADMIN)) == 200
    other = lab.token("registry:catalog:*", who=ADMIN, service="other")
    assert _granted(other) == {"*"}
    assert _registry_says(lab, other) == 401


def _signed(signer: Signer, at: datetime | None = None) -> str:
    at = at or datetime.now(UTC)
    catalog = {"type": "registry", "name": "catalog", "actions": ["*"]}
    claims = Claims.of("authserver", "admin", "registry", 300, (catalog,))
    return signer.sign(claims.encode(int(at.timestamp()), "by hand"), at)


def _registry_says(lab: Lab, token: str) -> int:
    return lab.registry.ask("/v2/_catalog", token=token).status
