"""The pictures of the console in README.md and docs/console.md: ``make screenshots``.

It seeds an installation of a small team, serves it, and takes the pictures of PICTURES. What
differs from run to run is frozen: times show the same texts, and what is random is masked.
"""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from playwright.sync_api import Page

from tests.browser.chromium import DESKTOP, PHONE, Pages, Scheme, Size, chromium_started
from tests.programs import Authserver, free_port
from tests.world import basic

PLACE = Path(__file__).parents[2] / "docs" / "images"
ADMIN, PASSWORD = "lena", "correct horse battery"

POLICY = """
groups:
  shop: [user:mike, user:sara, robot:ci-shop]
  payments: [user:sara]
rules:
  - {effect: allow, subjects: [group:shop], patterns: [shop/**], actions: [pull, push],
     comment: the team works on its own images}
  - {effect: allow, subjects: [group:payments], patterns: [payments/**], actions: [pull, push]}
  - {effect: allow, subjects: [robot:cluster], patterns: [shop/**, payments/**], actions: [pull],
     networks: [10.20.0.0/16], comment: "the cluster's nodes"}
  - {effect: allow, subjects: [robot:mirror], patterns: [base/**], actions: [pull, push]}
  - {effect: allow, subjects: [authenticated], patterns: [base/**], actions: [pull]}
  - {effect: allow, subjects: [user:tom], patterns: [shop/old/**], actions: [pull]}
  - {effect: deny, subjects: [everyone], patterns: [payments/ledger], actions: [push],
     comment: frozen for the audit, valid_from: "2026-11-01T00:00:00Z"}
delegations:
  - {group: shop, registry: main, pattern: shop/**, actions: [pull, push]}
"""

ACCOUNTS = (
    ("user", "add", "mike", "--password-stdin"),
    ("user", "add", "sara", "--password-stdin"),
    ("user", "add", "yuki", "--password-stdin", "--auditor"),
    ("user", "add", "tom", "--password-stdin"),
    ("robot", "add", "ci-shop", "--owner", "mike", "--description", "builds the shop's images"),
    ("robot", "add", "cluster", "--description", "pulls on every node"),
    ("robot", "add", "mirror", "--owner", "sara", "--description", "copies base images at night"),
)
TOKENS = (
    ("ci-shop", "--name", "pipeline", "--scope", "repository:shop/**:pull,push", "--expires", "9d"),
    ("cluster", "--name", "nodes", "--scope", "repository:**:pull", "--expires", "never"),
    ("mirror", "--name", "nightly", "--expires", "60d"),
    (ADMIN, "--name", "laptop", "--scope", "repository:**:pull", "--expires", "90d"),
)
# What the robot of the shop asks for: the last is denied.
ASKED = ("shop/web:pull,push", "base/alpine:pull", "payments/api:pull")

# Texts that are others in each run: times become the same, what is random is masked.
FROZEN = """() => {
  const nine = Date.UTC(2026, 10, 30, 9, 0);
  const shown = new Intl.DateTimeFormat("en", {dateStyle: "medium", timeStyle: "short"});
  for (const [number, time] of document.querySelectorAll("time").entries())
    time.textContent = shown.format(new Date(nine - number * 7 * 60000));
  const random = /\\b([A-Z2-7]{4}:){3,}[A-Z2-7]{4}\\b|\\b[0-9a-f]{12,64}\\b|\\b[\\w-]{22}\\b/g;
  const walker = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
  while (walker.nextNode())
    walker.currentNode.data = walker.currentNode.data.replace(random, it => "·".repeat(it.length));
}"""


@dataclass(frozen=True)
class Picture:
    """One picture: its file's name, the page, and how it is looked at."""

    name: str
    page: str
    size: Size = DESKTOP
    scheme: Scheme = "light"


PICTURES = (
    Picture("overview", "overview"),
    Picture("overview-phone", "overview", PHONE, "dark"),
    Picture("users", "users"),
    Picture("rules", "rules"),
    Picture("my-access", "my/access?repository=payments/ledger&registry=main", scheme="dark"),
    Picture("my-token-phone", "my/tokens/new", PHONE),
)


def main() -> None:
    """Take all pictures."""
    with tempfile.TemporaryDirectory(prefix="authserver-screenshots-") as directory:
        place, port = Path(directory), free_port()
        authserver, secret = seeded(place, port)
        base = f"http://localhost:{port}"
        with authserver.serving(port, "--workers", "1"), chromium_started(place) as browser:
            ask(base, secret)
            pages = Pages(browser, base)
            for picture in PICTURES:
                take(pages, picture)
                print(picture.name, flush=True)
            pages.close()


def seeded(place: Path, port: int) -> tuple[Authserver, str]:
    """Set up the team's installation; return it and the secret of the shop's robot."""
    authserver = Authserver(
        place / "data",
        {
            "AUTHSERVER_PORT": str(port),
            "AUTHSERVER_PUBLIC_URL": "https://auth.example.com",
            "AUTHSERVER_REGISTRY_HOST": "registry.example.com",
        },
    )
    authserver.run(
        "init",
        "--registry",
        "main",
        "--admin",
        ADMIN,
        "--admin-password-stdin",
        stdin=f"{PASSWORD}\n",
    )
    authserver.run_each(*ACCOUNTS, stdin=f"{PASSWORD}\n")
    authserver.run("user", "disable", "tom")
    policy = place / "policy.yaml"
    policy.write_text(POLICY)
    authserver.run("policy", "apply", str(policy), "--yes")
    secrets = [authserver.run("token", "create", *words).stdout.strip() for words in TOKENS]
    return authserver, secrets[0]


def ask(base: str, secret: str) -> None:
    """Ask for tokens, and wait until the records of that are in the store."""
    for scope in ASKED:
        query = {"service": "main", "scope": f"repository:{scope}"}
        request = Request(
            f"{base}/token?{urlencode(query)}", headers={"Authorization": basic("ci-shop", secret)}
        )
        urlopen(request).close()
    time.sleep(3)


def take(pages: Pages, picture: Picture) -> None:
    """Take one picture as the administrator sees it."""
    page = pages.open("/console/login", size=picture.size, scheme=picture.scheme)
    log_in(page)
    page.goto(f"/console/{picture.page}")
    page.evaluate(FROZEN)
    page.screenshot(path=PLACE / f"{picture.name}.png", animations="disabled", caret="hide")


def log_in(page: Page) -> None:
    page.fill("#name", ADMIN)
    page.fill("#password", PASSWORD)
    page.locator("main button").click()
    page.wait_for_url("**/overview")


if __name__ == "__main__":
    main()
