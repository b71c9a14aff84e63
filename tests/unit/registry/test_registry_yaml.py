"""YAML and the environment, as Distribution's own reader takes them (gopkg.in/yaml.v2 2.4.0)."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from authserver.core.errors import Refused
from authserver.registry.doctor import config_file, environment, registry_yaml

TRUE = ("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON")
FALSE = ("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF")


@pytest.mark.parametrize(
    "text",
    [
        "registry", "registry:5000", "10:30", "1:2:3", "2026-01-01", "2026-01-01 10:00:00", "0x",
        "0xg", "08x", "1.2.3", "yEs", "tRue", "Y es", "nULL", "1e999", "0o8", ".", "+", "=",
        "1e", "_1x", "0xFFFFFFFFFFFFFFFFF", "-0xFFFFFFFFFFFFFFFF", "+0xFFFFFFFFFFFFFFFF",
        "https://a.example/token", '"1"', "'yes'", "!!str 1", "!!str yes", "!own 1",
    ],
)  # fmt: skip
def test_what_a_registry_takes_for_a_string(text: str) -> None:
    assert isinstance(registry_yaml.read(f"x: {text}")["x"], str)


@pytest.mark.parametrize(
    "text",
    [
        "1", "+1", "-1", "0", "007", "08", "1_000", "1_", "0x1F", "0X1f", "0o17", "0b11", "-0b11",
        "1.5", "1.", ".5", "-.5", "1e3", "1E+3", "1.5e-3", ".5_0", "0xFFFFFFFFFFFFFFFF",
        "123456789012345678901234567890", ".inf", "-.INF", ".nan", "!!int 1", "!!float 1",
    ],
)  # fmt: skip
def test_what_a_registry_takes_for_a_number(text: str) -> None:
    assert isinstance(registry_yaml.read(f"x: {text}")["x"], float)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *((word, True) for word in TRUE),
        *((word, False) for word in FALSE),
        *((word, None) for word in ["~", "null", "Null", "NULL", ""]),
    ],
)
def test_words_are_booleans_and_nothing(text: str, value: object) -> None:
    assert registry_yaml.read(f"x: {text}") == {"x": value}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 1\n---\nb: [", {"a": 1.0}),
        ("--- {a: b}\n...\n%nonsense", {"a": "b"}),
        ("a: x\na: z", {"a": "z"}),
        ("on: a\n1: b", {"on": "a", "1": "b"}),
        ("a: &x {k: v}\nb: *x", {"a": {"k": "v"}, "b": {"k": "v"}}),
        ("a: &x {k: v}\nb: {<<: *x, k: w}", {"a": {"k": "v"}, "b": {"k": "w"}}),
        ("a: &x {k: v}\nb: {k: w, <<: *x}", {"a": {"k": "v"}, "b": {"k": "v"}}),
        (
            "a: &x {k: v}\nc: &y {k: u}\nb: {<<: [*x, *y]}",
            {"a": {"k": "v"}, "c": {"k": "u"}, "b": {"k": "v"}},
        ),
        ('a: {"<<": x}', {"a": {"<<": "x"}}),
        ("a: |\n  x\n  y\n", {"a": "x\ny\n"}),
        ("a: !own {b: c}", {"a": {"b": "c"}}),
        ("a: [1, x]", {"a": [1.0, "x"]}),
        ("", None),
    ],
)
def test_documents_keys_and_anchors(text: str, value: object) -> None:
    assert registry_yaml.read(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "a: [",
        "\ta: b",
        "a: *x",
        "a: &a [*a]",
        "a: !!int x",
        "a: !!bool 1",
        "a: {<<: x}",
        "a: !!int 1e3",
    ],
)
def test_what_a_registry_cannot_read(text: str) -> None:
    with pytest.raises(yaml.YAMLError):
        registry_yaml.read(text)


def config(tmp_path: Path, text: str, environ: dict[str, str] | None = None) -> Any:
    path = tmp_path / "config.yml"
    path.write_text(text)
    return config_file.read(path, environ)


@pytest.mark.parametrize(
    ("text", "token", "others"),
    [
        ("version: 0.1", None, ()),
        ("auth:", None, ()),
        ("auth: token", {}, ()),
        ("auth: {token: }", {}, ()),
        ("auth: {token: {service: y}}", {"service": True}, ()),
        ("auth: {htpasswd: {}}", None, ("htpasswd",)),
        ("auth: {htpasswd: {}, token: {}}", {}, ("htpasswd",)),
        ("Auth: {token: {}}", None, ()),
    ],
)
def test_the_auth_section(
    tmp_path: Path, text: str, token: dict[str, Any] | None, others: tuple[str, ...]
) -> None:
    found = config(tmp_path, text)
    assert (found.token, found.other_auth) == (token, others)


@pytest.mark.parametrize("text", ["auth: [token]", "auth: {token: x}", "auth: {token: [x]}", "[]"])
def test_a_section_with_which_no_registry_starts(tmp_path: Path, text: str) -> None:
    with pytest.raises(Refused):
        config(tmp_path, text)


TOKEN = "auth: {token: {service: a, realm: r}}"


@pytest.mark.parametrize(
    ("text", "environ", "token"),
    [
        ("{}", {"AUTH_TOKEN_SERVICE": "x"}, {"service": "x"}),
        ("{}", {"AUTH": "token", "AUTH_TOKEN_REALM": "r"}, {"realm": "r"}),
        (TOKEN, {"AUTH_TOKEN_SERVICE": "b"}, {"service": "b", "realm": "r"}),
        (TOKEN, {"AUTH": "token", "AUTH_TOKEN_SERVICE": "b"}, {"service": "b"}),
        (TOKEN, {"AUTH_TOKEN": "{service: b}"}, {"service": "b"}),
        (TOKEN, {"AUTH_TOKEN_SERVICE": "1"}, {"service": 1.0, "realm": "r"}),
        (TOKEN, {"AUTH_TOKEN_SERVICE": '"1"'}, {"service": "1", "realm": "r"}),
        (TOKEN, {"AUTH_TOKEN_SIGNINGALGORITHMS": "[ES256]"}, None),
        (TOKEN, {"AUTH_token_SERVICE": "b"}, None),
        (TOKEN, {"STORAGE_S3_SECRETKEY": "{"}, None),
        (TOKEN, {"AUTH_TOKEN_SERVICE_X": "b"}, {"service": "a", "realm": "r"}),
        ("auth: {token: }", {"AUTH_TOKEN_SERVICE": "b"}, {"service": "b"}),
        ("auth: {htpasswd: {}}", {"AUTH": "token"}, {}),
    ],
)
def test_the_environment_overrides_the_file(
    tmp_path: Path, text: str, environ: dict[str, str], token: dict[str, Any] | None
) -> None:
    found = config(tmp_path, text, {f"REGISTRY_{name}": it for name, it in environ.items()})
    if "AUTH_TOKEN_SIGNINGALGORITHMS" in environ:
        assert found.token["signingalgorithms"] == ["ES256"]
    elif token is not None:
        assert found.token == token


def test_tls_may_come_from_the_environment(tmp_path: Path) -> None:
    assert not config(tmp_path, "http: {tls: {}}").has_tls
    assert config(tmp_path, "http: {tls: {certificate: c}}").has_tls
    assert config(tmp_path, "http: {}", {"REGISTRY_HTTP_TLS_CERTIFICATE": "c"}).has_tls
    assert config(tmp_path, "{}", {"REGISTRY_HTTP_TLS_LETSENCRYPT_CACHEFILE": "c"}).has_tls


WANTED = {"REGISTRY_AUTH": "token", "REGISTRY_AUTH_TOKEN_SERVICE": "a b # c"}
LISTED = [f"{name}={value}" for name, value in WANTED.items()]


@pytest.mark.parametrize(
    "text",
    [
        "REGISTRY_AUTH=token\nREGISTRY_AUTH_TOKEN_SERVICE='a b # c'\n",
        '# x\n\nexport REGISTRY_AUTH="token" # y\nREGISTRY_AUTH_TOKEN_SERVICE="a b # c"\nPATH\n',
        "A=: x\nREGISTRY_AUTH=token # y\r\nREGISTRY_AUTH_TOKEN_SERVICE='a b # c'",
        json.dumps([{"Id": "x", "Config": {"Env": ["PATH=/bin", *LISTED]}}], indent=4),
        json.dumps(LISTED),
        json.dumps(WANTED),
        "\n".join(f"- {json.dumps(line)}" for line in LISTED),
        "environment:\n  REGISTRY_AUTH: token\n  REGISTRY_AUTH_TOKEN_SERVICE: 'a b # c'\n  X:\n",
        json.dumps({"services": {"db": {"environment": ["A=b"]}, "r": {"environment": WANTED}}}),
        json.dumps({"services": {"web": {}, "r": {"environment": LISTED}}}),
    ],
)
def test_every_form_of_an_environment_is_read(tmp_path: Path, text: str) -> None:
    path = tmp_path / "env"
    path.write_text(text)
    assert environment.read(path) == WANTED


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("A=b", "has no variable REGISTRY_"),
        ("{}", "has no variable REGISTRY_"),
        ("REGISTRY_AUTH=token\nnonsense here", "not NAME=VALUE"),
        ("a: [", "neither lines NAME=VALUE nor YAML nor JSON"),
        ("5", "has no environment"),
        ("[[1]]", "has no environment"),
        ("services: {a: {environment: [REGISTRY_AUTH=x]}, b: {environment: [REGISTRY_AUTH=y]}}",
         "several registries"),
        ("REGISTRY_AUTH_TOKEN_REALM=https://${HOST}/token", "docker compose config"),
    ],
)  # fmt: skip
def test_what_is_no_environment_is_refused(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "env"
    path.write_text(text)
    with pytest.raises(Refused, match=why):
        environment.read(path)
