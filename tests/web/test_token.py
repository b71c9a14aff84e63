"""The token endpoint: the answers table of the design, row by row."""

from tests.world import ADMIN, PASSWORD, World


def test_login_without_scope_gets_an_empty_grant(world: World) -> None:
    response = world.get("service=registry", auth=(ADMIN, PASSWORD))
    assert response.status_code == 200
    assert world.claims(response)["access"] == []
