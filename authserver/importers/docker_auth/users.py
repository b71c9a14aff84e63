"""docker_auth's users: who can be taken over with a password, and who cannot and why."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field

from authserver.core.errors import Refused
from authserver.core.names import account_name, folded, printable
from authserver.core.subjects import AccountKind
from authserver.importers import htpasswd
from authserver.importers.docker_auth.config import Config, User
from authserver.importers.docker_auth.coverage import Problem
from authserver.importers.docker_auth.evaluate import NO_CREDENTIALS


@dataclass(frozen=True, slots=True)
class Left:
    """Something besides the ACL that is not taken. ``name`` is printable."""

    line: int
    name: str
    problem: Problem


@dataclass(frozen=True, slots=True)
class Users:
    """The file's users: new ones with their hashes, those that are there already, the others."""

    new: list[htpasswd.Entry] = field(default_factory=list)
    existing: list[str] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)

    def known(self, accounts: Mapping[str, AccountKind]) -> dict[str, AccountKind]:
        """Return the accounts that there will be."""
        return {**accounts, **{user.name: AccountKind.USER for user in self.new}}


def users(config: Config, accounts: Mapping[str, AccountKind]) -> Users:
    """Sort the file's users; ``accounts`` are those that are there."""
    found = Users()
    taken = {folded(name): name for name in accounts}
    for user in config.users:
        if user.name == NO_CREDENTIALS and user.usable and user.password is None:
            continue
        if problem := _problem(user, taken, accounts):
            found.left.append(Left(user.line, printable(user.name), problem))
        elif user.name in accounts:
            found.existing.append(user.name)
        else:
            taken[folded(user.name)] = user.name
            found.new.append(htpasswd.Entry(user.line, user.name, user.password or ""))
    return found


def _problem(
    user: User, taken: Mapping[str, str], accounts: Mapping[str, AccountKind]
) -> Problem | None:
    if name := _name_problem(user.name):
        return Problem(name, "choose another name")
    same = taken.get(folded(user.name), user.name)
    if same != user.name:
        return Problem(f"{same} is there: names must differ in more than case", "rename it")
    if kind := accounts.get(user.name):
        # Its password here stays, whatever the file has.
        return None if kind is AccountKind.USER else Problem("a robot has this name", "rename one")
    return _password_problem(user)


def _name_problem(name: str) -> str | None:
    try:
        same = account_name(name) == name
    except Refused as error:
        return str(error)
    return None if same else "the name is not in Unicode's normal form C"


def _password_problem(user: User) -> Problem | None:
    remedy = f"authserver user add {shlex.quote(user.name)}"
    if not user.usable:
        return Problem("it has no settings, and nobody can log in with it", remedy)
    if user.password is None:
        return Problem("it has no password: anybody may log in with that name", remedy)
    problem = htpasswd.hash_problem(user.password)
    return Problem(problem, remedy) if problem else None
