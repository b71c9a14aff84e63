"""The registry's environment, which overrides its configuration file (configuration/parser.go)."""

import re
from pathlib import Path
from typing import Any

import yaml

from authserver.core.errors import Refused
from authserver.registry.doctor import registry_yaml
from authserver.registry.doctor.files import contents

PREFIX = "REGISTRY_"
_SECTIONS = ("AUTH", "HTTP")
_line = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)(?:=(.*))?")
_quoted = re.compile(r"\"((?:[^\"\\]|\\.)*)\"\s*(?:#.*)?|'([^']*)'\s*(?:#.*)?")


def read(path: Path) -> dict[str, str]:
    """Return the registry's variables in a file.

    It may be an `env_file` of compose, a compose file, one `environment` of it, or what
    `docker inspect` prints of a container.

    Raises:
        Refused: the file cannot be read, has another form, or names no variable of a registry.
    """
    try:
        text = contents(path).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Refused(f"{path} is not UTF-8 text") from None
    found = {k: v for k, v in _variables(text, path).items() if k.startswith(PREFIX)}
    if not found:
        raise Refused(f"{path} has no variable {PREFIX}…")
    if names := [name for name, value in found.items() if "${" in value and _concerns(name)]:
        raise Refused(
            f"{path}: {', '.join(names)} is not resolved: give what `docker compose config` prints"
        )
    return found


def _concerns(name: str) -> bool:
    return name.split("_")[1] in _SECTIONS


def _variables(text: str, path: Path) -> dict[str, str]:
    lines = [line for line in map(str.strip, text.splitlines()) if line and line[0] != "#"]
    if lines and "=" in lines[0] and _line.fullmatch(lines[0]):
        return _of_lines(lines, path)
    try:
        # As compose reads it: every value is the text that stands there.
        document = yaml.load(text, yaml.BaseLoader)  # noqa: S506 - makes texts only
    except (yaml.YAMLError, RecursionError):
        raise Refused(f"{path} is neither lines NAME=VALUE nor YAML nor JSON") from None
    return _of_document(document, path)


def _of_lines(lines: list[str], path: Path) -> dict[str, str]:
    found = {}
    for line in lines:
        matched = _line.fullmatch(line)
        if matched is None:
            raise Refused(f"{path} has a line that is not NAME=VALUE")
        if matched[2] is not None:
            found[matched[1]] = _value(matched[2].strip())
    return found


def _value(text: str) -> str:
    if (matched := _quoted.fullmatch(text)) is None:
        return re.split(r"\s#", text, maxsplit=1)[0].rstrip()
    return re.sub(r"\\(.)", r"\1", matched[1]) if matched[2] is None else matched[2]


def _of_document(document: Any, path: Path) -> dict[str, str]:  # noqa: ANN401 - the file decides
    match document:
        case {"services": dict(services)}:
            environments = [
                _of_document(service["environment"], path)
                for service in services.values()
                if isinstance(service, dict) and service.get("environment")
            ]
            ours = [it for it in environments if any(name.startswith(PREFIX) for name in it)]
            if len(ours) > 1:
                raise Refused(f"{path} has several registries: give the environment of one")
            return ours[0] if ours else {}
        case {"environment": environment}:
            return _of_document(environment, path)
        case [{"Config": {"Env": list(listed)}}] | {"Config": {"Env": list(listed)}}:
            return _of_document(listed, path)
        case dict():
            return {str(k): v for k, v in document.items() if isinstance(v, str) and v}
        case list() if all(isinstance(item, str) for item in document):
            pairs = (item.partition("=") for item in document)
            return {name: value for name, equals, value in pairs if equals}
    raise Refused(f"{path} has no environment, as compose or `docker inspect` writes one")


def override(document: dict[str, Any], environ: dict[str, str]) -> None:
    """Change a configuration as its environment does; only what concerns tokens is looked at.

    Raises:
        yaml.YAMLError: a value is not YAML, and the registry does not start.
    """
    for name in sorted(filter(_concerns, environ)):
        _set(document, name.split("_")[1:], registry_yaml.read(environ[name]))
        document["auth"] = auth_section(document.get("auth"))


def auth_section(value: Any) -> Any:  # noqa: ANN401 - the file decides
    """Return an `auth` section; a registry takes the name of one in its place."""
    return {value: {}} if isinstance(value, str) else value


def _set(section: dict[str, Any], path: list[str], value: Any) -> None:  # noqa: ANN401
    name, *rest = path
    if not rest:
        section[name.lower()] = value
        return
    for key, inner in section.items():
        if key.upper() == name and inner is not None:
            if isinstance(inner, dict):
                _set(inner, rest, value)
            return
    section[name.lower()] = {}
    _set(section[name.lower()], rest, value)
