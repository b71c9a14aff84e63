"""The API's warnings of rules that lint calls an error."""

from typing import Any

from tests.web.test_api import call, got, tag
from tests.world import World

OPEN: dict[str, Any] = {
    "effect": "allow",
    "subjects": ["everyone"],
    "patterns": ["**"],
    "actions": ["push"],
}


def test_an_answer_warns_of_a_rule_that_is_an_error(world: World) -> None:
    made = call(world, "POST", "/rules", status=201, json=OPEN)
    assert made.json is not None
    (warning,) = made.json["warnings"]
    assert warning["code"] == "public-write"
    assert warning["remedy"].endswith("acl edit 3 --actions pull")
    path = f"/rules/{made.json['id']}"
    for body in ({"enabled": False}, {"enabled": True, "subjects": ["authenticated"]}):
        changed = call(world, "PATCH", path, status=200, json=body, headers=tag(world, path)).json
        assert changed is not None
        assert changed["warnings"] == []
    bad = {"patterns": ["Team/**"]}
    changed = call(world, "PATCH", path, status=200, json=bad, headers=tag(world, path)).json
    assert changed is not None
    assert [each["code"] for each in changed["warnings"]] == ["host-only"]
    assert [rule["warnings"] for rule in got(world, "/rules")["items"]][:2] == [[], []]
