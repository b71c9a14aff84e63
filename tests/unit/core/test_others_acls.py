"""The access rules of others' documentation and tests, as far as ours can say them.

cesanta/docker_auth at c67e175: examples/reference.yml, simple.yml, ldap_auth.yml, docs/Labels.md,
docs/auth-methods.md. sapcc/keppel at db35858: docs/api-spec.md (``rbac_policies``) and
internal/api/auth/api_test.go.
"""

from ipaddress import ip_address

import pytest

from authserver.core.conditions import Circumstances
from authserver.core.decision import decide
from authserver.core.rules import Effect, Rule, new_rule
from authserver.core.scope import parse
from authserver.core.subjects import Account, subjects
from authserver.importers.docker_auth.config import read
from authserver.importers.docker_auth.coverage import import_context
from authserver.importers.docker_auth.translate import translate

ADMIN, TEST, USER = Account("admin"), Account("test"), Account("user")
BUSY = Account("busy", groups=frozenset({"web", "webdev"}))


def rule(text: str) -> Rule:
    """Make a rule from ``allow SUBJECTS PATTERNS ACTIONS [NETWORK]``."""
    effect, whom, patterns, actions, *networks = text.split()
    kind = "registry" if patterns == "catalog!" else "repository"
    return new_rule(
        Effect(effect),
        subjects(whom),
        patterns.removesuffix("!").split(","),
        actions,
        resource_type=kind,
        networks=networks,
    )


def granted(
    rules: list[str], account: Account | None, asked: str, address: str = "192.0.2.1"
) -> str:
    made = [rule(text) for text in rules]
    where = Circumstances(ip_address(address))
    return ",".join(decide(made, account, "r", parse(asked), circumstances=where).granted)


# What comments in reference.yml say of each entry.

LOCALHOST = ["allow everyone ** all 127.0.0.0/8", "allow everyone ** all ::1"]
TEST_ONLY = ["allow user:test test-* all"]
OWN = ["allow authenticated {account}/* all"]
CATALOG = ["allow authenticated catalog! all"]
PULL = ["allow authenticated ** pull"]
HELLO = ["allow everyone hello-world pull"]


@pytest.mark.parametrize(
    ("rules", "account", "asked", "address", "expected"),
    [
        # "Allow everything from localhost (IPv4)", "(IPv6)"
        (LOCALHOST, None, "repository:a/b:pull,push", "127.0.0.1", "pull,push"),
        (LOCALHOST, None, "repository:a/b:pull,push", "127.255.255.255", "pull,push"),
        (LOCALHOST, USER, "repository:a/b:*", "::1", "pull,push,delete,*"),
        (LOCALHOST, None, "repository:a/b:pull", "128.0.0.1", ""),
        (LOCALHOST, ADMIN, "repository:a/b:pull", "::2", ""),
        # "Allow everything from the local Docker bridge address"
        (["allow everyone ** all 172.17.0.1"], None, "repository:a:push", "172.17.0.1", "push"),
        (["allow everyone ** all 172.17.0.1"], None, "repository:a:push", "172.17.0.2", ""),
        # "Admin has full access to everything."
        (["allow user:admin ** all"], ADMIN, "repository:a/b:*", "", "pull,push,delete,*"),
        (["allow user:admin ** all"], TEST, "repository:a/b:*", "", ""),
        # "User "test" has full access to test-* images but nothing else."
        (TEST_ONLY, TEST, "repository:test-a:pull,push", "", "pull,push"),
        (TEST_ONLY, TEST, "repository:test-a/b:pull", "", ""),
        (TEST_ONLY, TEST, "repository:other:pull", "", ""),
        (TEST_ONLY, USER, "repository:test-a:pull", "", ""),
        # "Logged in users have full access to images that are in their 'namespace'"
        (OWN, USER, "repository:user/a:push", "", "push"),
        (OWN, USER, "repository:user/a/b:push", "", ""),
        (OWN, USER, "repository:user:push", "", ""),
        (OWN, USER, "repository:other/a:push", "", ""),
        (OWN, None, "repository:user/a:push", "", ""),
        # "Logged in users can query the catalog."
        (CATALOG, USER, "registry:catalog:*", "", "*"),
        (CATALOG, None, "registry:catalog:*", "", ""),
        (CATALOG, USER, "repository:catalog:*", "", ""),
        # "Logged in users can pull all images."
        (PULL, USER, "repository:a/b/c:pull,push", "", "pull"),
        (PULL, None, "repository:a/b/c:pull,push", "", ""),
        # "Anonymous users can pull "hello-world"." With us whoever logs in may do so too.
        (HELLO, None, "repository:hello-world:pull,push", "", "pull"),
        (HELLO, None, "repository:hello-worlds:pull", "", ""),
        (HELLO, USER, "repository:hello-world:pull", "", "pull"),
        # simple.yml and ldap_auth.yml
        (["allow user:admin ** all", "allow user:test ** pull"], TEST,
         "repository:a:*", "", "pull"),
        (["allow authenticated ** all"], USER, "repository:a/b:pull,push", "", "pull,push"),
        (["allow authenticated ** all"], None, "repository:a/b:pull,push", "", ""),
        # Labels.md and auth-methods.md: labels and teams are groups.
        (["allow group:web web/* pull,push"], BUSY, "repository:web/api:push", "", "push"),
        (["allow group:web web/* pull,push"], USER, "repository:web/api:push", "", ""),
        (["allow group:web,group:ops ** pull"], BUSY, "repository:a:pull,push", "", "pull"),
        (["allow group:web ** pull", "allow group:webdev test/* all"], BUSY,
         "repository:test/a:*", "", "pull,push,delete,*"),
    ],
)  # fmt: skip
def test_docker_auths_documentation(
    rules: list[str], account: Account | None, asked: str, address: str, expected: str
) -> None:
    assert granted(rules, account, asked, address or "192.0.2.1") == expected


# The entries of reference.yml that need neither labels nor what an earlier one cuts off.
REFERENCE = """\
users: {"": {}}
acl:
  - match: {ip: "127.0.0.0/8"}
    actions: ["*"]
  - match: {account: "admin"}
    actions: ["*"]
  - match: {account: "/.+/", name: "${account}/*"}
    actions: ["*"]
  - match: {account: "/.+/", type: "registry", name: "catalog"}
    actions: ["*"]
  - match: {account: "/.+/"}
    actions: ["pull"]
  - match: {account: "", name: "hello-world"}
    actions: ["pull"]
"""


def test_the_import_writes_the_rules_that_the_reference_describes() -> None:
    found = read(REFERENCE.encode(), "reference.yml")
    rules = translate(found, import_context(found, {"admin": USER.kind}, frozenset())).rules()
    assert [str(one).replace(" on every registry", "") for one in rules] == [
        "allow everyone ** * from 127.0.0.0/8",
        "allow everyone registry catalog * from 127.0.0.0/8",
        "allow user:admin ** *",
        "allow user:admin registry catalog *",
        "allow authenticated {account}/* *",
        "allow authenticated registry catalog *",
        "allow authenticated ** pull",
        "allow anonymous hello-world pull",
    ]


# keppel: an account's policies, each on the repositories below ``test1/``. Its regular expressions
# are bound to both ends, as our patterns are; ``fo+`` is written ``foo``.

CORRECT, OTHER = Account("correctusername"), Account("somebody")
ANYBODY_PULLS = ["allow everyone test1/foo pull"]
PULLS = ["allow user:correctusername test1/foo pull"]
PUSHES = ["allow user:correctusername test1/foo pull,push"]
DELETES = ["allow user:correctusername test1/foo pull,delete"]
TENANT = ["allow user:correctusername test1/** pull,push,delete"]
NO_PUSH = ["deny user:correctusername test1/foo push"]


@pytest.mark.parametrize(
    ("rules", "account", "pull", "push", "both", "delete"),
    [
        # Basic success, and not allowed to pull, to push, to delete.
        (TENANT, CORRECT, "pull", "push", "pull,push", "delete"),
        (
            ["allow user:correctusername test1/** pull,delete"],
            CORRECT,
            "pull",
            "",
            "pull",
            "delete",
        ),
        (
            ["allow user:correctusername test1/** pull,push"],
            CORRECT,
            "pull",
            "push",
            "pull,push",
            "",
        ),
        ([], CORRECT, "", "", "", ""),
        # Anonymous login when policies do not allow access, and when one allows pull.
        (TENANT, None, "", "", "", ""),
        (ANYBODY_PULLS, None, "pull", "", "pull", ""),
        # A policy for anonymous pull also enables pull for all who log in.
        (ANYBODY_PULLS, CORRECT, "pull", "", "pull", ""),
        (ANYBODY_PULLS + TENANT, CORRECT, "pull", "push", "pull,push", "delete"),
        # A policy grants to matching users, and to no others.
        (PULLS, CORRECT, "pull", "", "pull", ""),
        (PULLS, OTHER, "", "", "", ""),
        (PULLS + TENANT, CORRECT, "pull", "push", "pull,push", "delete"),
        (PUSHES, CORRECT, "pull", "push", "pull,push", ""),
        (PUSHES, OTHER, "", "", "", ""),
        (PUSHES + TENANT, CORRECT, "pull", "push", "pull,push", "delete"),
        (DELETES, CORRECT, "pull", "", "pull", "delete"),
        (DELETES, OTHER, "", "", "", ""),
        (DELETES + TENANT, CORRECT, "pull", "push", "pull,push", "delete"),
        # A policy on another repository.
        (["allow user:correctusername test1/other pull,push"], CORRECT, "", "", "", ""),
        # Negative policies take away, whatever another one grants and in whatever order.
        (NO_PUSH + TENANT, CORRECT, "pull", "", "pull", "delete"),
        (TENANT + NO_PUSH, CORRECT, "pull", "", "pull", "delete"),
        (PUSHES + NO_PUSH, CORRECT, "pull", "", "pull", ""),
    ],
)
def test_keppels_policies(
    rules: list[str], account: Account | None, pull: str, push: str, both: str, delete: str
) -> None:
    asked = ("pull", "push", "pull,push", "delete")
    found = [granted(rules, account, f"repository:test1/foo:{actions}") for actions in asked]
    assert found == [pull, push, both, delete]


@pytest.mark.parametrize(
    ("rules", "account", "asked", "address", "expected"),
    [
        # A policy's repository is matched whole.
        (ANYBODY_PULLS, None, "repository:test1/foobar:pull,push", "192.0.2.1", ""),
        (ANYBODY_PULLS, None, "repository:test1/foobar:delete", "192.0.2.1", ""),
        # Names that are none.
        (TENANT, CORRECT, "repository:test1/:pull", "192.0.2.1", ""),
        (TENANT, CORRECT, f"repository:test1/{'a' * 300}:pull", "192.0.2.1", ""),
        (TENANT, CORRECT, "repository:test1/???:pull", "192.0.2.1", ""),
        # api-spec.md: ``library/.*`` for anybody, ``library/alpine`` for one user.
        (["allow everyone firstaccount/library/** pull"], None,
         "repository:firstaccount/library/alpine:pull,push", "192.0.2.1", "pull"),
        (["allow everyone firstaccount/library/** pull"], None,
         "repository:firstaccount/libraryx/alpine:pull", "192.0.2.1", ""),
        (["allow everyone firstaccount/library/** pull",
          "allow user:exampleuser firstaccount/library/alpine pull,push"], Account("exampleuser"),
         "repository:firstaccount/library/alpine:pull,push", "192.0.2.1", "pull,push"),
        # ``match_cidr``
        (["allow everyone test1/foo pull 1.2.3.0/24"], None, "repository:test1/foo:pull",
         "1.2.3.4", "pull"),
        (["allow everyone test1/foo pull 1.2.3.0/24"], None, "repository:test1/foo:pull",
         "1.2.4.4", ""),
        (["allow everyone test1/foo pull 2001:db8::/32"], CORRECT, "repository:test1/foo:pull",
         "1.2.3.4", ""),
    ],
)  # fmt: skip
def test_keppels_names_and_networks(
    rules: list[str], account: Account | None, asked: str, address: str, expected: str
) -> None:
    assert granted(rules, account, asked, address) == expected
