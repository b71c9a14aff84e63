"""The registry's ``jwks`` file: whether it has the keys that our tokens name."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from authserver.core.errors import Refused
from authserver.core.names import printable
from authserver.keys.jose import HeaderMode, key_id
from authserver.registry.distribution.trust import ListedKey, read_jwks
from authserver.registry.doctor.config_file import ConfigFile, contents
from authserver.registry.doctor.expected import Ours
from authserver.registry.doctor.findings import Finding, failed, not_tried, passed

CHECK = "config.jwks"
FOREIGN = "config.jwks.foreign"


def check(config: ConfigFile, here: Path | None, ours: Ours) -> Iterator[Finding]:
    """Give the findings on the JWKS; ``here`` is where it is on this machine."""
    named = config.text("jwks")
    if not named:
        if (config.token or {}).get("jwks"):
            yield failed(CHECK, "its jwks is no string, and it is not read", "write a file's path")
        return
    place = here or Path(named)
    if here is None and not place.is_file():
        yield not_tried(
            CHECK,
            f"{printable(named)} is not on this machine",
            "copy it here and name the copy with --jwks; it must be a file: no URL is read",
        )
        return
    try:
        listed = read_jwks(contents(place), str(place))
    except Refused as error:
        yield failed(CHECK, f"{error}, and 3.x does not start", _cure(named))
        return
    yield _holds_ours(listed, ours, named)
    yield _foreign(listed, ours)


def _cure(named: str) -> str:
    return f"authserver key jwks > {printable(named)}, and restart the registry"


def _holds_ours(listed: Sequence[ListedKey], ours: Ours, named: str) -> Finding:
    if ours.mode is HeaderMode.X5C:
        return passed(CHECK, "it is not looked at for tokens that carry their certificate (x5c)")
    public = ours.key.private.public_key()
    kid = key_id(public, ours.mode)
    if any(one.kid == kid and one.public == public for one in listed):
        return passed(CHECK, f"it lists our key as {kid}; 2.8 does not read it")
    if any(one.public == public for one in listed):
        return failed(CHECK, f"it lists our key, but not as {kid}", _cure(named))
    return failed(CHECK, f"our key {kid} is not in it", _cure(named))


def _foreign(listed: Sequence[ListedKey], ours: Ours) -> Finding:
    own = [certificate.public_key() for certificate in ours.certificates()]
    foreign = [one.kid for one in listed if one.public not in own]
    if not foreign:
        return passed(FOREIGN, "it lists nobody else's key")
    names = printable(", ".join(foreign))
    return failed(
        FOREIGN,
        f"who has the key {names} can make tokens that grant everything here",
        "unless you need it there, remove it from the file and restart the registry",
    )
