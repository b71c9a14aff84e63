"""Three replicas on bad days, or with --long for half an hour: `make soak`."""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from tests.soak import bad_days, long_page, long_run, page
from tests.soak.machine import versions
from tests.soak.place import ROOT, place

MAX_STALENESS = 60
QUICK = 0.2
SHOWN = 20
"""How many of the wrong answers are printed."""


def main() -> None:
    """Run, print, and write the page; exit with 1 if something was not as promised."""
    chosen = _arguments()
    shorter = QUICK if chosen.quick else 1.0
    runs, pages = (long_run, long_page) if chosen.long else (bad_days, page)
    with place(round(MAX_STALENESS * shorter)) as here:
        done = runs.run(here, shorter)
    where = versions()
    chosen.output.write_text(json.dumps(asdict(done) | {"versions": where}, indent=1) + "\n")
    print(*done.wrong[:SHOWN], sep="\n")
    print(told := pages.written(done, where))
    if not chosen.quick:
        (ROOT / "docs" / pages.NAME).write_text(told)
    if found := pages.problems(done):
        sys.exit("not as promised: " + "; ".join(found))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--long", action="store_true", help="half an hour in which all is well")
    parser.add_argument("--quick", action="store_true", help="a fifth of the time; no page")
    parser.add_argument("--output", type=Path, default=Path("soak-results.json"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
