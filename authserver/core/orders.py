"""By what lists are sorted. It stands here, so that options and their help need no store."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Orders:
    """The orders of a noun's list by name; the first is the one that it has unless asked otherwise.

    ``knows_use`` says whether it is known when each thing was last used.
    """

    names: tuple[str, ...]
    knows_use: bool = False

    @property
    def choices(self) -> tuple[str, ...]:
        """Each order, and each of them the other way, with a minus."""
        return tuple(f"{sign}{name}" for name in self.names for sign in ("", "-"))


USERS = Orders(("name", "created", "login", "used"), knows_use=True)
ROBOTS = Orders(("name", "created", "used"), knows_use=True)
GROUPS = Orders(("name", "created", "size"))
REGISTRIES = Orders(("service", "created"))
RULES = Orders(("id", "created", "edited"))
TOKENS = Orders(("id", "account", "created", "expires", "used"), knows_use=True)
SESSIONS = Orders(("id", "account", "created", "expires", "used"))
