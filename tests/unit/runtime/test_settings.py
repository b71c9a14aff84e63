"""Settings: their sources, and what is refused before anything starts."""

import os
import re
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import make_url

from authserver.core.errors import Refused
from authserver.runtime import settings
from authserver.runtime.settings import Loaded, Pool, Settings, loading

SECRET = "postgresql+psycopg://auth:hunter22@db/auth"


@dataclass
class Host:
    """A machine with an environment and files, and no settings of its own."""

    monkeypatch: pytest.MonkeyPatch
    directory: Path

    def load(self, **values: str) -> Loaded:
        """Load with ``TOKEN_TTL="60"`` as ``AUTHSERVER_TOKEN_TTL=60`` in the environment."""
        for name, value in values.items():
            self.monkeypatch.setenv(f"AUTHSERVER_{name}", value)
        return settings.load(os.environ)

    def file(self, content: str | bytes) -> str:
        path = self.directory / "file"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Host:
    monkeypatch.setattr(loading, "DEFAULT_CONFIG_FILE", tmp_path / "authserver.toml")
    return Host(monkeypatch, tmp_path)


def test_the_defaults(host: Host) -> None:
    loaded = host.load()
    chosen = loaded.settings
    assert loaded.warnings == ()
    assert (chosen.public_url, chosen.issuer) == ("http://localhost:5001", "authserver")
    assert (chosen.host, chosen.port, chosen.workers) == ("127.0.0.1", 5001, None)
    assert (chosen.token_ttl, chosen.bcrypt_cost, chosen.log_format) == (300, 12, "console")
    assert make_url(chosen.store_url).database == f"{Path('data').absolute()}/authserver.db"
    assert chosen.master_key_path == Path("data/master.key")
    assert chosen.realm == "http://localhost:5001/token"


def test_the_store_and_the_master_key_are_under_the_data_directory(host: Host) -> None:
    chosen = host.load(DATA_DIR="/var/lib/authserver").settings
    assert make_url(chosen.store_url) == make_url("sqlite:////var/lib/authserver/authserver.db")
    assert chosen.master_key_path == Path("/var/lib/authserver/master.key")


def test_the_store_and_the_master_key_can_be_elsewhere(host: Host) -> None:
    chosen = host.load(DATABASE_URL=SECRET, MASTER_KEY_FILE="/run/secrets/key").settings
    assert make_url(chosen.store_url) == make_url(SECRET)
    assert chosen.master_key_path == Path("/run/secrets/key")


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_postgresql_is_reached_by_psycopg_however_it_is_written(host: Host, scheme: str) -> None:
    chosen = host.load(DATABASE_URL=f"{scheme}://u:p%40@h/d", DATABASE_POOL_SIZE="7").settings
    assert chosen.store_url == make_url("postgresql+psycopg://u:p%40@h/d")
    assert chosen.pool == Pool(size=7, timeout=5, connect_timeout=5)


# Which source wins.


def test_the_environment_stands_above_the_file_and_the_file_above_the_default(host: Host) -> None:
    file = host.file("token_ttl = 100\nbcrypt_cost = 11\n")
    chosen = host.load(CONFIG_FILE=file, TOKEN_TTL="200").settings
    assert (chosen.token_ttl, chosen.bcrypt_cost, chosen.port) == (200, 11, 5001)


def test_the_default_file_is_read_if_it_is_there(host: Host) -> None:
    loading.DEFAULT_CONFIG_FILE.write_text("token_ttl = 100\n")
    assert host.load().settings.token_ttl == 100


def test_a_file_that_is_named_is_read_in_place_of_the_default_one(host: Host) -> None:
    loading.DEFAULT_CONFIG_FILE.write_text("token_ttl = 100\nport = 1\n")
    chosen = host.load(CONFIG_FILE=host.file("token_ttl = 200\n")).settings
    assert (chosen.token_ttl, chosen.port) == (200, 5001)


def test_an_empty_variable_is_not_set(host: Host) -> None:
    file = host.file("token_ttl = 100\n")
    assert host.load(CONFIG_FILE=file, TOKEN_TTL="", WORKERS="").settings.token_ttl == 100


def test_a_secret_can_stand_in_a_file_of_its_own(host: Host) -> None:
    chosen = host.load(DATABASE_URL_FILE=host.file(f"{SECRET}\n")).settings
    assert make_url(chosen.store_url) == make_url(SECRET)


@pytest.mark.parametrize(
    ("values", "warning"),
    [
        ({"PUBLIC_URL": "https://example.com/token"}, "set it to https://example.com$"),
        ({"PUBLIC_URL": "https://example.com/auth/token/"}, "set it to https://example.com/auth$"),
        ({"PUBLIC_URL": "https://example.com/tokens"}, None),
        ({"HOST": "0.0.0.0"}, "localhost and serve listens on every address"),
        ({"HOST": "::", "PUBLIC_URL": "http://127.0.0.1:5001"}, "listens on every address"),
        ({"HOST": "::", "PUBLIC_URL": "http://[::1]:5001"}, "listens on every address"),
        ({"HOST": "0.0.0.0", "PUBLIC_URL": "https://example.com"}, None),
        ({"HOST": "192.0.2.7"}, None),
        ({"HOST": "0.0.0.0", "UNIX_SOCKET": "/run/a.sock"}, None),
        ({}, None),
    ],
)
def test_a_public_url_that_clients_cannot_use_is_warned_of(
    host: Host, values: dict[str, str], warning: str | None
) -> None:
    warnings = host.load(**values).settings.contradictions()
    assert len(warnings) == (warning is not None)
    if warning:
        assert re.search(warning, warnings[0])


def test_serve_may_listen_elsewhere_than_the_settings_say(host: Host) -> None:
    assert host.load().settings.contradictions("0.0.0.0")
    assert not host.load(HOST="0.0.0.0").settings.contradictions("192.0.2.7")


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("https://ui.example.com", ("https://ui.example.com",)),
        ("HTTPS://UI.example.com:443", ("https://ui.example.com",)),
        ("http://localhost:8080, http://a:80", ("http://localhost:8080", "http://a")),
        ("http://[::1]:8080", ("http://[::1]:8080",)),
    ],
)
def test_origins_are_kept_as_browsers_write_them(
    host: Host, value: str, kept: tuple[str, ...]
) -> None:
    assert host.load(CORS_ORIGINS=value).settings.cors_origins == kept
    file = host.file(f'cors_origins = "{value}"\n')
    assert host.load(CONFIG_FILE=file).settings.cors_origins == kept


# What is unknown.


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("TOKN_TTL", "did you mean AUTHSERVER_TOKEN_TTL?"),
        ("BCRYPT_COSTS", "did you mean AUTHSERVER_BCRYPT_COST?"),
        ("DATABASE_URL_FIL", "did you mean AUTHSERVER_DATABASE_URL"),
        ("QQQ", ""),
        ("PORTS", "did you mean AUTHSERVER_PORT?"),
        ("SERVICES_HOST", ""),
    ],
)
def test_an_unknown_name_in_the_environment_is_refused(host: Host, name: str, hint: str) -> None:
    with pytest.raises(Refused, match=rf"unknown setting AUTHSERVER_{name} .*{hint}"):
        host.load(**{name: "1"})


def test_names_of_other_programs_are_their_own_business(host: Host) -> None:
    host.monkeypatch.setenv("AUTHSERVERS", "x")
    host.monkeypatch.setenv("TOKEN_TTL", "7")
    assert host.load().settings.token_ttl == 300


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("tokn_ttl", "did you mean token_ttl?"),
        ("TOKEN_TTL", ""),
        ("AUTHSERVER_TOKEN_TTL", ""),
        ("database_url_file", "did you mean database_url?"),
        ("qqq", ""),
    ],
)
def test_an_unknown_key_in_the_file_is_refused(host: Host, key: str, hint: str) -> None:
    file = host.file(f"{key} = 1\n")
    with pytest.raises(Refused, match=rf"unknown setting {key} in {file}.*{hint}"):
        host.load(CONFIG_FILE=file)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("token_ttl: 100\n", "is not valid TOML"),
        ("token_ttl = 100\ntoken_ttl = 200\n", "is not valid TOML"),
        (b"issuer = '\xff'\n", "is not UTF-8 text"),
        ("token_ttl = 'ten'\n", "AUTHSERVER_TOKEN_TTL .token_ttl."),
        ("token_ttl = 59\n", "AUTHSERVER_TOKEN_TTL .token_ttl."),
        ("[token_ttl]\nseconds = 100\n", "AUTHSERVER_TOKEN_TTL .token_ttl."),
    ],
)
def test_a_broken_file_is_refused(host: Host, content: str | bytes, why: str) -> None:
    with pytest.raises(Refused, match=why):
        host.load(CONFIG_FILE=host.file(content))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("CONFIG_FILE", "the settings file {path} cannot be read"),
        (
            "DATABASE_URL_FILE",
            "the file that AUTHSERVER_DATABASE_URL_FILE names, {path}, cannot be read",
        ),
    ],
)
def test_a_file_that_cannot_be_read_is_named(host: Host, name: str, said: str) -> None:
    for path in (host.directory / "missing", host.directory):
        with pytest.raises(Refused, match=said.format(path=path)):
            host.load(**{name: str(path)})


def test_a_default_file_that_cannot_be_reached_is_not_passed_over(host: Host) -> None:
    (host.directory / "a file").touch()
    loop = host.directory / "loop"
    loop.symlink_to(loop)
    host.monkeypatch.setattr(loading, "DEFAULT_CONFIG_FILE", loop)
    with pytest.raises(Refused, match="loop cannot be read"):
        host.load()
    below = host.directory / "a file" / "authserver.toml"
    host.monkeypatch.setattr(loading, "DEFAULT_CONFIG_FILE", below)
    assert host.load().file is None


def test_the_file_that_was_read_is_known(host: Host) -> None:
    assert host.load().file is None
    loading.DEFAULT_CONFIG_FILE.touch()
    assert host.load().file == loading.DEFAULT_CONFIG_FILE
    named = host.file("")
    assert host.load(CONFIG_FILE=named).file == Path(named)


@pytest.mark.parametrize("name", settings.SECRETS)
def test_a_secret_that_is_set_twice_is_refused(host: Host, name: str) -> None:
    variable = name.upper()
    with pytest.raises(Refused, match=f"{variable} and AUTHSERVER_{variable}_FILE are both set"):
        host.load(**{variable: SECRET, f"{variable}_FILE": host.file(SECRET)})


# What is not valid.


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TOKEN_TTL", "59"),
        ("TOKEN_TTL", "86401"),
        ("TOKEN_TTL", "five minutes"),
        ("TOKEN_TTL", "300.5"),
        ("BCRYPT_COST", "3"),
        ("BCRYPT_COST", "32"),
        ("WORKERS", "0"),
        ("WORKERS", "many"),
        ("PORT", "0"),
        ("PORT", "65536"),
        ("REMEMBER_PASSWORDS", "-1"),
        ("REMEMBER_PASSWORDS", "3601"),
        ("TOKEN_RECORD_DAYS", "0"),
        ("LOG_FORMAT", "xml"),
        ("PUBLIC_URL", "auth.example.com"),
        ("PUBLIC_URL", "ftp://auth.example.com"),
        ("PUBLIC_URL", "https://"),
        ("PUBLIC_URL", "https://h/?q"),
        ("PUBLIC_URL", "https://h/#f"),
        ("PUBLIC_URL", "https://[h"),
        ("ISSUER", 'a"b'),
        ("ISSUER", "é"),
        ("ISSUER", "x" * 256),
        ("DATABASE_URL", "authserver.db"),
        ("DATABASE_URL", "mysql://db.example.com/auth"),
        ("DATABASE_URL", "postgresql+asyncpg://db.example.com/auth"),
        ("DATABASE_POOL_SIZE", "5"),
        ("DATABASE_POOL_TIMEOUT", "0"),
        ("DATABASE_CONNECT_TIMEOUT", "1"),
        ("TRUSTED_PROXIES", "10.0.0.1/8"),
        ("TRUSTED_PROXIES", "proxy.example.com"),
        ("PROXY_HEADER", "X Forwarded For"),
        ("REGISTRY_HOST", "https://r.example.com"),
        ("REGISTRY_HOST", "r.example.com/team"),
    ],
)
def test_a_bad_value_is_refused_by_the_name_of_its_setting(
    host: Host, name: str, value: str
) -> None:
    with pytest.raises(Refused, match=f"invalid setting .*AUTHSERVER_{name} .{name.lower()}.: "):
        host.load(**{name: value})


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("TOKEN_TTL", "59", "must be a whole number from 60 to 86400"),
        ("TOKEN_TTL", "300.5", "must be a whole number from 60 to 86400"),
        ("TOKEN_TTL", "five minutes", "must be a whole number from 60 to 86400"),
        ("WORKERS", "many", "must be a whole number from 1 to 256"),
        ("REMEMBER_PASSWORDS", "-1", "must be a whole number from 0 to 3600"),
        ("LOG_FORMAT", "xml", "must be one of console, json"),
        ("TRUSTED_PROXIES", "proxy.example.com, 10.0.0.1/8", "must be networks like"),
        ("PROXY_HEADER", "X Forwarded For", "must be the name of one header"),
        ("PROXY_HEADER", "X-Forwarded-Host", "X-Forwarded-Host holds no address of a client"),
        ("PROXY_HEADER", "x-forwarded-fro", "x-forwarded-fro holds no address of a client"),
        ("PROXY_HEADER", "via", "via holds no address of a client"),
        ("PROXY_HEADER", "Authorization", "Authorization holds no address of a client"),
        ("CORS_ORIGINS", "*", "must be origins like"),
        ("CORS_ORIGINS", "null", "must be origins like"),
        ("CORS_ORIGINS", "https://*.example.com", "must be origins like"),
        ("CORS_ORIGINS", "https://ui.example.com/", "must be origins like"),
        ("CORS_ORIGINS", "https://ui.example.com https://a/b", "must be origins like"),
        ("CORS_ORIGINS", "https://alice@ui.example.com", "must be origins like"),
        ("CORS_ORIGINS", "ui.example.com", "must be origins like"),
        ("REGISTRY_HOST", "https://r.example.com", "must be a host name"),
        ("PUBLIC_URL", "auth.example.com", "must be a URL like"),
    ],
)
def test_what_a_bad_value_must_be_is_said_in_plain_words_and_once(
    host: Host, name: str, value: str, remedy: str
) -> None:
    with pytest.raises(Refused) as refused:
        host.load(**{name: value})
    said = str(refused.value)
    assert said.startswith(f"invalid setting AUTHSERVER_{name} ({name.lower()}): {remedy}")
    assert said.count(f"AUTHSERVER_{name}") == 1


def test_text_that_is_no_text_in_the_file_is_told_to_be_quoted(host: Host) -> None:
    with pytest.raises(Refused, match=r"AUTHSERVER_ISSUER \(issuer\): must be text: quote it"):
        host.load(CONFIG_FILE=host.file("issuer = 7\n"))


def test_every_bad_value_is_named_at_once(host: Host) -> None:
    with pytest.raises(Refused) as refused:
        host.load(TOKEN_TTL="1", PORT="0")
    assert "AUTHSERVER_TOKEN_TTL" in str(refused.value)
    assert "AUTHSERVER_PORT" in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("PUBLIC_URL", "https://auth.example.com/", "https://auth.example.com"),
        ("PUBLIC_URL", "https://example.com:8443/auth/", "https://example.com:8443/auth"),
        ("PUBLIC_URL", "http://[::1]:5001", "http://[::1]:5001"),
        ("TOKEN_TTL", "60", 60),
        ("TOKEN_TTL", "86400", 86400),
        ("BCRYPT_COST", "31", 31),
        ("WORKERS", "2", 2),
        ("REMEMBER_PASSWORDS", "0", 0),
        ("LOG_FORMAT", "json", "json"),
        ("REGISTRY_HOST", "registry.example.com:5000", "registry.example.com:5000"),
        ("REGISTRY_HOST", "[::1]:5000", "[::1]:5000"),
        ("ISSUER", "auth.example.com", "auth.example.com"),
        ("TRUSTED_PROXIES", "10.0.0.0/8", (ip_network("10.0.0.0/8"),)),
        ("TRUSTED_PROXIES", "::1, 10.1.2.3", (ip_network("::1"), ip_network("10.1.2.3"))),
    ],
)
def test_a_good_value_is_taken(host: Host, name: str, value: str, kept: object) -> None:
    assert getattr(host.load(**{name: value}).settings, name.lower()) == kept


def test_the_realm_is_under_the_public_url(host: Host) -> None:
    assert host.load(PUBLIC_URL="https://h/auth/").settings.realm == "https://h/auth/token"


# What Kubernetes injects beside a Service of our name.

INJECTED = {
    "PORT": "tcp://10.0.0.7:5001",
    "PORT_5001_TCP": "tcp://10.0.0.7:5001",
    "PORT_5001_TCP_ADDR": "10.0.0.7",
    "PORT_5001_TCP_PORT": "5001",
    "PORT_5001_TCP_PROTO": "tcp",
    "SERVICE_HOST": "10.0.0.7",
    "SERVICE_PORT": "5001",
    "SERVICE_PORT_HTTP": "5001",
}


def test_what_kubernetes_injects_is_ignored_with_a_warning(host: Host) -> None:
    before = host.load().settings
    loaded = host.load(**INJECTED)
    assert loaded.settings == before
    assert [w.split()[0] for w in loaded.warnings] == [f"AUTHSERVER_{name}" for name in INJECTED]
    assert all("enableServiceLinks: false" in warning for warning in loaded.warnings)


def test_what_kubernetes_injects_stays_in_the_environment(host: Host) -> None:
    host.load(**INJECTED)
    assert os.environ["AUTHSERVER_PORT"] == INJECTED["PORT"]


def test_a_port_of_our_own_is_no_injected_one(host: Host) -> None:
    loaded = host.load(**INJECTED | {"PORT": "6000"})
    assert loaded.settings.port == 6000
    assert len(loaded.warnings) == len(INJECTED) - 1


# Advice and secrets.


@pytest.mark.parametrize(("cost", "warned"), [("4", True), ("9", True), ("10", False)])
def test_a_low_cost_is_warned_of(host: Host, cost: str, warned: bool) -> None:
    warnings = host.load(BCRYPT_COST=cost).warnings
    assert [f"AUTHSERVER_BCRYPT_COST is {cost}" in warning for warning in warnings] == [True][
        : int(warned)
    ]


@pytest.mark.parametrize(
    ("networks", "warned"),
    [("0.0.0.0/0", True), ("10.0.0.0/8,::/0", True), ("10.0.0.0/8", False)],
)
def test_trusting_every_address_as_a_proxy_is_advised_against(
    host: Host, networks: str, warned: bool
) -> None:
    warnings = host.load(TRUSTED_PROXIES=networks).warnings
    assert [w.startswith("AUTHSERVER_TRUSTED_PROXIES") for w in warnings] == [True] * warned


@pytest.mark.parametrize("shown", [repr, str, lambda loaded: loaded.settings.model_dump_json()])
def test_secrets_are_not_shown(host: Host, shown: Any) -> None:
    loaded = host.load(DATABASE_URL=SECRET, ADMIN_PASSWORD="hunter22")
    assert "hunter22" not in shown(loaded)


def test_a_bad_secret_is_not_repeated(host: Host) -> None:
    with pytest.raises(Refused) as refused:
        host.load(DATABASE_URL="hunter22")
    assert "hunter22" not in str(refused.value)


def test_settings_do_not_change_while_they_are_used() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().port = 1  # type: ignore[misc]


def test_the_sample_file_holds_every_setting_at_its_default(host: Host) -> None:
    sample = settings.sample()
    lines = [line for line in sample.splitlines() if line.startswith("#") and line[1:2] != " "]
    assert [line[1:].split(" = ")[0] for line in lines] == list(Settings.model_fields)
    uncommented = host.file("\n".join(line[1:] for line in lines))
    assert host.load(CONFIG_FILE=uncommented).settings == Settings()


@pytest.mark.parametrize("name", ["authserver_token_ttl", "Authserver_Nonsense"])
def test_a_name_in_lower_case_is_refused(name: str) -> None:
    with pytest.raises(Refused, match=name.upper()):
        settings.load({name: "61"})


def test_an_empty_secret_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("\n")
    with pytest.raises(Refused, match=r"AUTHSERVER_DATABASE_URL_FILE names, .* is empty"):
        settings.load({"AUTHSERVER_DATABASE_URL_FILE": str(tmp_path / "secret")})


def test_spaces_in_a_secret_file_belong_to_the_secret(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(" pass word \r\n")
    chosen = settings.load({"AUTHSERVER_ADMIN_PASSWORD_FILE": str(tmp_path / "secret")}).settings
    assert chosen.admin_password is not None
    assert chosen.admin_password.get_secret_value() == " pass word "


def test_with_tls_the_realm_is_of_https(host: Host) -> None:
    pair = {"TLS_CERTIFICATE_FILE": "tls.pem", "TLS_KEY_FILE": "tls.key"}
    chosen = host.load(**pair).settings
    assert (chosen.scheme, chosen.realm) == ("https", "https://localhost:5001/token")
    assert chosen.public_port == 5001
    assert host.load(PORT="6001", **pair).settings.realm == "https://localhost:6001/token"


def test_a_unix_socket_has_no_port_that_the_realm_could_name(host: Host) -> None:
    assert host.load(UNIX_SOCKET="/run/authserver.sock").settings.public_port is None


@pytest.mark.parametrize("address", ["127.0.0.1:9464", "[::1]:9464", "metrics.internal:1"])
def test_where_metrics_are_served(host: Host, address: str) -> None:
    name, _, port = address.rpartition(":")
    found = host.load(METRICS_LISTEN=address).settings.metrics_address
    assert found == (name.strip("[]"), int(port))


@pytest.mark.parametrize("address", ["9464", ":9464", "127.0.0.1", "::1:9464", "h:0", "h:65536"])
def test_what_is_no_address_for_metrics_is_refused(host: Host, address: str) -> None:
    with pytest.raises(Refused, match="an address and a port, like"):
        host.load(METRICS_LISTEN=address)


@pytest.mark.parametrize(
    ("listen", "place"),
    [
        ("127.0.0.1:5002", ("127.0.0.1", 5002)),
        ("[::1]:5002", ("::1", 5002)),
        ("unix:/run/authserver/admin.sock", Path("/run/authserver/admin.sock")),
    ],
)
def test_where_the_administration_is_served(
    host: Host, listen: str, place: tuple[str, int] | Path
) -> None:
    assert host.load(ADMIN_LISTEN=listen).settings.admin_place == place


@pytest.mark.parametrize("listen", ["5002", "h:0", "h:65536", "unix:", "unix:a.sock", "/a.sock"])
def test_what_is_no_place_for_the_administration_is_refused(host: Host, listen: str) -> None:
    with pytest.raises(Refused, match=r"an address and a port, like .*, or a Unix socket, like"):
        host.load(ADMIN_LISTEN=listen)


def test_the_administrations_certificate_is_the_public_one_unless_it_has_its_own(
    host: Host,
) -> None:
    public = {"TLS_CERTIFICATE_FILE": "a", "TLS_KEY_FILE": "b", "ADMIN_LISTEN": "h:1"}
    assert host.load(**public).settings.admin_tls_files == (Path("a"), Path("b"))
    own = {"ADMIN_TLS_CERTIFICATE_FILE": "c", "ADMIN_TLS_KEY_FILE": "d"}
    chosen = host.load(**public, **own).settings
    assert (chosen.tls_files, chosen.admin_tls_files) == (
        (Path("a"), Path("b")),
        (Path("c"), Path("d")),
    )


OWN = {"ADMIN_TLS_CERTIFICATE_FILE": "a", "ADMIN_TLS_KEY_FILE": "b"}
ALONE = {
    "the administration's key": (
        {"ADMIN_LISTEN": "h:1", "ADMIN_TLS_KEY_FILE": "b"},
        "set both or neither",
    ),
    "a certificate for no administration": (OWN, "set AUTHSERVER_ADMIN_LISTEN, like"),
    "a certificate for a Unix socket of the administration": (
        OWN | {"ADMIN_LISTEN": "unix:/a"},
        "set AUTHSERVER_ADMIN_LISTEN, like",
    ),
    "clients' certificates for no administration": (
        {"ADMIN_CLIENT_CA_FILE": "a"},
        "set AUTHSERVER_ADMIN_LISTEN, like",
    ),
    "clients' certificates without TLS": (
        {"ADMIN_LISTEN": "h:1", "ADMIN_CLIENT_CA_FILE": "a"},
        "set AUTHSERVER_ADMIN_TLS_CERTIFICATE_FILE",
    ),
    "authorities of a daemon without TLS": (
        {"AUDIT_LOG": "syslog://h", "AUDIT_LOG_CA_FILE": "a"},
        "set AUTHSERVER_AUDIT_LOG, like",
    ),
    "authorities of no daemon": ({"AUDIT_LOG_CA_FILE": "a"}, "set AUTHSERVER_AUDIT_LOG, like"),
    "one Unix socket for both": (
        {"ADMIN_LISTEN": "unix:/a", "UNIX_SOCKET": "/a"},
        "this is AUTHSERVER_UNIX_SOCKET",
    ),
    "a certificate": ({"TLS_CERTIFICATE_FILE": "a"}, "set both or neither"),
    "a key": ({"TLS_KEY_FILE": "a"}, "set both or neither"),
    "TLS on a Unix socket": (
        {"TLS_CERTIFICATE_FILE": "a", "TLS_KEY_FILE": "b", "UNIX_SOCKET": "c"},
        "TLS is not served on a Unix socket",
    ),
    "permissions": ({"UNIX_SOCKET_MODE": "888"}, "must be octal permissions like 660"),
}


@pytest.mark.parametrize(("values", "said"), ALONE.values(), ids=ALONE.keys())
def test_settings_that_do_not_go_together_are_refused(
    host: Host, values: dict[str, str], said: str
) -> None:
    with pytest.raises(Refused, match=said):
        host.load(**values)
