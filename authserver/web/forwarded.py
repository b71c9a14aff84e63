"""Read the header ``Forwarded`` (RFC 7239) from its right end, which the nearest proxy wrote.

A client may have written what stands left of it, such as a quote that nothing closes. So the text
is taken apart from the right: nothing in front of an element changes how that element is read.
"""

import re
from collections.abc import Iterator

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - the grammar's token
_pair = re.compile(rf'({_TOKEN})=(?:({_TOKEN})|"((?:[^"\\]|\\.)*)")')
# Without the look-behind a long run of backslashes would take quadratic time.
_quote_or = {mark: re.compile(rf'(?<!\\)\\*"|{mark}') for mark in ",;"}
_node = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+))(?::(?:\d{1,5}|_[0-9A-Za-z._-]+))?")


def nodes(header: str) -> Iterator[str]:
    """Yield the address in each element's ``for``, the last element first.

    It is empty for an element that has no address there: ``unknown``, an obfuscated identifier,
    an IPv6 address without brackets, no ``for`` or several, or an element that breaks the grammar.
    """
    for element in _split(header, ","):
        matched = _node.fullmatch(_for(element))
        yield (matched[1] or matched[2]) if matched else ""


def _split(text: str, separator: str) -> Iterator[str]:
    """Yield the parts between separators that are in no quoted string, the last part first."""
    end, quoted = len(text), False
    for mark in reversed(list(_quote_or[separator].finditer(text))):
        if mark[0].endswith('"'):
            # An odd number of backslashes in front of it: it is one of the string's characters.
            quoted ^= not (quoted and len(mark[0]) % 2 == 0)
        elif not quoted:
            yield text[mark.end() : end]
            end = mark.start()
    yield text[:end]


def _for(element: str) -> str:
    """Return the value of an element's ``for``, empty if it has none that can be read."""
    found = ""
    for text in _split(element, ";"):
        matched = _pair.fullmatch(text.strip(" \t"))
        if matched is None:
            if text.strip(" \t"):
                return ""
        elif matched[1].lower() == "for":
            if found:
                return ""
            found = re.sub(r"\\(.)", r"\1", matched[3]) if matched[2] is None else matched[2]
    return found
