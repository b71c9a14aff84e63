"""An installation in which every text that somebody chose has odd characters and markup in it."""

from datetime import timedelta
from typing import Any

from authserver.db import accounts, models
from authserver.registry import last_checks
from tests.unit.registry.reports import report
from tests.web.html_page import EVIL
from tests.web.test_api import call
from tests.web.visitor import Visitor
from tests.world import PASSWORD, SERVICE, World

ODD = f"\"{EVIL}='&amp;%(x)s%$(id)`;"
"""Is allowed in names of accounts and groups."""
MARKUP = f"\"'><{EVIL} {EVIL}=1></main><script>alert(1)</script>{{{{7*7}}}}&amp; %(x)s ../"
"""Is allowed where a text is one line."""
AUDITOR, DELEGATE, PLAIN = f"vera{ODD}", f"dora{ODD}", f"paul{ODD}"
ROBOT, GROUP = f"ci{ODD}", f"team{ODD}"
REGISTRY = f"<{EVIL}>{{{{7*7}}}}&amp;%(x)s $(id) ?a=b#c/.."
NAMES = ("..", "-x", "--help", "?name=admin#x", "%2e%2e", "א" * 20, "漢" * 30, "W" * 128)
PEOPLE = (AUDITOR, DELEGATE, PLAIN)
RULE = {"effect": "allow", "subjects": [f"group:{GROUP}"], "patterns": ["team/**"]}


def seed(world: World) -> None:
    """Make something of every noun."""
    for name in (*PEOPLE, *NAMES):
        world.user(name)
    world.disable("..")
    with world.wiring.store.change("test") as change:
        accounts.set_role(change, AUDITOR, auditor=True)
        last_checks.keep(change, report("token", why=MARKUP, url="http://127.0.0.1:9"))
    world.wiring.state.refresh()
    _made(world, "PUT", "/robots/ci%22", description=MARKUP, owner=PLAIN)
    world.robot(ROBOT, owner=PLAIN)
    world.group(GROUP, DELEGATE, ROBOT)
    world.group("--help")
    world.robot("off")
    world.disable("off")
    world.registry(REGISTRY)
    url = {"url": "http://127.0.0.1:9"}
    call(world, "PUT", f"/registries/{SERVICE}", status=200, json=url, headers={"If-Match": "*"})
    _made(
        world,
        "POST",
        "/delegations",
        group=GROUP,
        registry=SERVICE,
        pattern="team/**",
        comment=MARKUP,
    )
    _made(world, "POST", "/rules", **RULE, actions=["pull", "push"], comment=MARKUP)
    _made(world, "POST", "/rules", **RULE | {"effect": "deny"}, actions=["delete"], enabled=False)
    own = RULE | {
        "registry": SERVICE,
        "actions": ["pull"],
        "patterns": ["team/own"],
        "comment": MARKUP,
    }
    call(world, "POST", "/rules", (DELEGATE, PASSWORD), 201, json=own)
    world.allow(f"user:{PLAIN}", "{account}/**", "pull,push")
    _made(world, "POST", "/invitations", user=f"guest{ODD}")
    for name in (*PEOPLE, "admin", ROBOT):
        world.app_token(
            name, "repository:team/app:pull", name=f"token{ODD}", networks=("10.0.0.0/8",)
        )
    world.app_token(PLAIN, name="--help", lifetime=None)
    for name in (*PEOPLE, "admin"):
        _use(world, name)
    with world.wiring.store.change("test") as change:
        until = change.at + timedelta(hours=1)
        row = models.LockoutRow(
            key="x", address="192.0.2.1", account=PLAIN, began_at=change.at, until=until
        )
        change.session.add(row)
    _made(world, "POST", "/authorities")


def _made(world: World, method: str, path: str, **body: Any) -> None:
    call(world, method, path, status=201, json=body)


def _use(world: World, name: str) -> None:
    """Log in to a registry and to the console, from a client with a hostile name."""
    headers = {"User-Agent": MARKUP}
    query = f"service={SERVICE}&offline_token=true&scope=repository:team/app:pull"
    assert world.get(query, auth=(name, PASSWORD), headers=headers).status_code == 200
    visitor = Visitor(world)
    visitor.client.environ_base["HTTP_USER_AGENT"] = MARKUP
    assert visitor.log_in(name).status_code == 303
    world.wiring.state.refresh()
