"""The grammars of names: repositories, accounts and groups, registries."""

import re
import unicodedata

from authserver.core.errors import Refused

REPOSITORY_NAME_MAX = 255
ACCOUNT_NAME_MAX = 128
HOSTILE_MAX = 4 * ACCOUNT_NAME_MAX
"""Characters of a text that can become a name: NFC makes a text at most four times shorter."""

_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_HOST_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_HOST = rf"{_HOST_LABEL}(?:\.{_HOST_LABEL})*(?::[0-9]+)?"

_path_component = re.compile(_COMPONENT)
_repository_name = re.compile(rf"(?:{_HOST}/)?{_COMPONENT}(?:/{_COMPONENT})*")

_SUBJECT_WORDS = frozenset({"anonymous", "authenticated", "everyone"})
_FORBIDDEN_IN_ACCOUNT = frozenset("/:,*{}<>")
_service = re.compile(r"[!#-\[\]-~](?:[ !#-\[\]-~]{0,253}[!#-\[\]-~])?")


def is_path_component(text: str) -> bool:
    """Whether ``text`` may be a segment of a repository name, after the first."""
    return _path_component.fullmatch(text) is not None


def is_repository_name(name: str) -> bool:
    """Whether the Distribution reference grammar accepts ``name`` (scope.md, ``resourcename``).

    The first of several segments may be a host: upper case, with a port.
    """
    return len(name) <= REPOSITORY_NAME_MAX and has_name_grammar(name)


def repository_name(text: str) -> str:
    """Check the name of a repository.

    Raises:
        Refused: no registry accepts it.
    """
    if not is_repository_name(text):
        raise Refused(f"{text!r} is no repository name that a registry accepts")
    return text


def has_name_grammar(name: str) -> bool:
    """Whether ``name`` follows the grammar of repository names, at any length."""
    return _repository_name.fullmatch(name) is not None


def nfc(text: str) -> str:
    """Return hostile text in NFC, cut at HOSTILE_MAX characters.

    Normalising takes time quadratic in the length. A slash marks a cut text, since no account's
    name has one.
    """
    if text.isascii() and len(text) <= HOSTILE_MAX:
        return text
    if len(text) > HOSTILE_MAX:
        return unicodedata.normalize("NFC", text[:HOSTILE_MAX]) + "/"
    return unicodedata.normalize("NFC", text)


def account_name(text: str) -> str:
    """Return ``text`` in NFC if it can name an account or a group.

    Raises:
        Refused: the name is empty, too long, a subject word, or has a forbidden character.
    """
    name = nfc(text)
    if not 1 <= len(name) <= ACCOUNT_NAME_MAX:
        raise Refused(f"a name has 1 to {ACCOUNT_NAME_MAX} characters, this one has {len(text)}")
    if bad := sorted({c for c in name if _is_forbidden(c)}):
        listed = " ".join(ascii(c) for c in bad)
        raise Refused(
            f"the name {name!r} contains {listed}: white space, control characters "
            "and / : , * { } < > are not allowed in names"
        )
    if name.casefold() in _SUBJECT_WORDS:
        raise Refused(f"the name {name!r} is a word of the rules' own; choose another")
    return name


def _is_forbidden(char: str) -> bool:
    return char in _FORBIDDEN_IN_ACCOUNT or char.isspace() or unicodedata.category(char)[0] in "CZ"


def folded(name: str) -> str:
    """Return the form in which account and group names must be unique.

    :func:`nfc` cuts hostile text, so that it equals the form of no name.
    """
    return nfc(name[: HOSTILE_MAX + 1].casefold())


def service_name(text: str) -> str:
    """Return ``text`` if it can be a registry's ``service`` string.

    Raises:
        Refused: the text is not 1 to 255 printable ASCII characters, or has a quote or a backslash,
            which a ``WWW-Authenticate`` header would have to escape.
    """
    if _service.fullmatch(text) is None:
        raise Refused(
            f"{printable(text)!r} cannot be a registry's service: use 1 to 255 printable ASCII "
            "characters without quotes, backslashes, or spaces at the ends"
        )
    return text


def one_line(text: str, what: str) -> str:
    """Return ``text`` if it is one line of printable characters; ``what`` begins the message.

    Raises:
        Refused: the text has other characters.
    """
    if not text.isprintable():
        raise Refused(f"{what} is one line of printable text")
    return text


def printable(text: str, limit: int = 300) -> str:
    """Return hostile text escaped for one line, of at most ``limit`` characters."""
    if len(text) <= limit and text.isprintable():
        return text
    safe = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[:limit])
    return safe if len(text) <= limit and len(safe) <= limit else f"{safe[: limit - 1]}…"


def the_registry(service: str) -> str:
    """Return how a sentence names a registry, which may be called ``registry``."""
    return "the registry" if service == "registry" else f"the registry {service}"
