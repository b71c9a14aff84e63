"""All settings and what each may be."""

import re
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationInfo, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from authserver.core.errors import Refused
from authserver.core.names import service_name
from authserver.core.password_rules import MAX_COST, MIN_COST
from authserver.core.urls import SYSLOG_TLS, parse_log

PREFIX = "AUTHSERVER_"
UNIX = "unix:"
LIMITS_SCHEMES = ("redis", "rediss", "redis+unix", "valkey", "valkeys", "valkey+unix")

# As it is written by various programs; the driver is always psycopg.
_POSTGRESQL = ("postgresql", "postgres", "postgresql+psycopg")


REMEDIES = {
    "trusted_proxies": "must be networks like 10.0.0.0/8 or 192.0.2.7/32 with commas between "
    "them, and no address bits after the prefix",
    "proxy_header": "must be the name of one header, like X-Forwarded-For",
    "unix_socket_mode": "must be octal permissions like 660",
    "admin_listen": "must be an address and a port, like 127.0.0.1:5002, or a Unix socket, like "
    "unix:/run/authserver/admin.sock",
    "metrics_listen": "must be an address and a port, like 127.0.0.1:9464",
    "registry_host": "must be a host name, with a port if need be, like registry.example.com:5000",
}
"""What some settings must be, in words."""


@dataclass(frozen=True)
class Pool:
    """The connections of one process to PostgreSQL; both timeouts in seconds."""

    size: int = 10
    timeout: int = 5
    connect_timeout: int = 5


class Settings(BaseSettings):
    """All settings. The field ``token_ttl`` is ``AUTHSERVER_TOKEN_TTL`` and ``token_ttl``."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
    )

    data_dir: Path = Field(
        Path("data"), description="Directory of the embedded database and of the master key."
    )
    database_url: SecretStr | None = Field(
        None,
        description="URL of the store, SQLite or PostgreSQL; by default SQLite, authserver.db "
        "under data_dir.",
    )
    # Fewer, and logins that wait for a change would leave none to see what was changed.
    database_pool_size: int = Field(
        10, ge=6, le=100, description="Connections to PostgreSQL that a worker has at most."
    )
    database_pool_timeout: int = Field(
        5, ge=1, le=60, description="Seconds for which a request waits for one of them."
    )
    database_connect_timeout: int = Field(
        5, ge=2, le=60, description="Seconds after which an attempt to connect is given up."
    )
    master_key_file: Path | None = Field(
        None,
        description="File of the key that encrypts the private keys; by default master.key under "
        "data_dir. Keep it apart from backups of the store.",
    )
    private_key_dir: Path | None = Field(
        None,
        description="Directory of private keys (PEM) that a secret manager mounts; keys imported "
        "without --key stay there and never enter the store.",
    )
    public_url: str = Field(
        "http://localhost:5001",
        description="URL under which clients reach this server; the realm is this plus /token.",
    )
    issuer: str = Field(
        "authserver",
        description="Issuer of the registry tokens; fixed in the store by `authserver init`.",
    )
    registry_host: str | None = Field(
        None,
        pattern=r"^([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?$",
        description="Name by which clients reach the registry, as in docker login; the page for "
        "invited users shows it.",
    )
    admin: str = Field("admin", description="Name of the administrator that init makes.")
    admin_password: SecretStr | None = Field(
        None, description="Password of the administrator that init makes."
    )
    registry: str = Field(
        "registry", description="Service string of the registry entry that init makes."
    )
    host: str = Field("127.0.0.1", description="Address that serve listens on.")
    port: int = Field(5001, ge=1, le=65535, description="Port that serve listens on.")
    workers: int | None = Field(
        None,
        ge=1,
        le=256,
        description="Worker processes; by default one for each processor that it may use.",
    )
    unix_socket: Path | None = Field(
        None,
        description="Unix socket that serve listens on instead of host and port. Whoever may "
        "connect to it is believed about the client's address.",
    )
    unix_socket_mode: str = Field(
        "660",
        pattern=r"^0?[0-7]{3}$",
        description="Permissions of Unix sockets that serve listens on, in octal.",
    )
    tls_certificate_file: Path | None = Field(
        None,
        description="PEM file of the certificate to serve TLS with, and of those between it and "
        "its authority; read again when it changes. By default TLS is left to a proxy.",
    )
    tls_key_file: Path | None = Field(
        None, description="PEM file of that certificate's private key, without a passphrase."
    )
    admin_listen: str | None = Field(
        None,
        pattern=r"^(unix:/[^\x00]+|([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5})$",
        description="Address and port, or Unix socket, on which serve offers the admin API, like "
        "127.0.0.1:5002 or unix:/run/authserver/admin.sock; the public listener then has it no "
        "more. By default that one has it.",
    )
    admin_tls_certificate_file: Path | None = Field(
        None,
        description="PEM file of the certificate for that address, as tls_certificate_file, which "
        "it is by default.",
    )
    admin_tls_key_file: Path | None = Field(
        None, description="PEM file of that certificate's private key."
    )
    admin_client_ca_file: Path | None = Field(
        None,
        description="PEM file of authorities: only clients with a certificate from one of them may "
        "connect to that address. They still need an account.",
    )
    metrics_listen: str | None = Field(
        None,
        pattern=r"^([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}$",
        description="Address and port on which serve offers /metrics for Prometheus, like "
        "127.0.0.1:9464; by default nowhere.",
    )
    trusted_proxies: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = Field(
        (),
        description="Networks of the proxies in front, with commas; only they are believed about "
        "the client's address.",
    )
    proxy_header: str = Field(
        "X-Forwarded-For",
        pattern=r"^[A-Za-z0-9-]+$",
        description="The one header in which those proxies name the client, read from the right.",
    )
    token_ttl: int = Field(
        300,
        ge=60,
        le=86400,
        description="Life of a registry token in seconds, unless the registry entry has its own.",
    )
    refresh_token_days: int = Field(
        90,
        ge=1,
        le=3650,
        description="Days after which a login that was not used ends (refresh tokens).",
    )
    bcrypt_cost: int = Field(
        12,
        ge=MIN_COST,
        le=MAX_COST,
        description="Cost of password hashes; hashes of a lower cost are made anew on login.",
    )
    remember_passwords: int = Field(
        300,
        ge=0,
        le=3600,
        description="Seconds for which a worker remembers, in memory, that a password was right; "
        "0 checks every time.",
    )
    failures_per_account: int = Field(
        10,
        ge=1,
        le=1_000_000,
        description="Wrong passwords a minute for one name from one address (of IPv6 a /64), and "
        "three times as many an hour; then what needs bcrypt is answered 429.",
    )
    failures_per_address: int = Field(
        30,
        ge=1,
        le=1_000_000,
        description="Wrong passwords a minute from one address for any names, and five times as "
        "many an hour.",
    )
    requests_per_address: int = Field(
        200,
        ge=0,
        le=1_000_000,
        description="Requests a second from one address (of IPv6 a /64) that each worker answers, "
        "after 20 times as many at once; the others are answered 429. 0: no limit.",
    )
    connections_per_address: int = Field(
        128,
        ge=0,
        le=1_000_000,
        description="Connections at a time from one address (of IPv6 a /64) to each worker, at "
        "most half of all; the newest are closed. Trusted proxies have no limit. 0: no limit.",
    )
    limits_url: SecretStr | None = Field(
        None,
        description="URL of the Redis or Valkey in which replicas count wrong passwords together; "
        "by default each server counts for itself, all its workers together.",
    )
    token_record_days: int = Field(
        30, ge=1, le=3650, description="Days for which records of token requests are kept."
    )
    token_record_size: int = Field(
        2048,
        ge=1,
        le=1 << 20,
        description="MiB that records of token requests take at most, about; then the oldest go "
        "before their days are over.",
    )
    min_free: int = Field(
        128,
        ge=0,
        le=1 << 20,
        description="MiB to be left free on the disks of the embedded store and of the audit log: "
        "with less the store does not grow and the audit log waits.",
    )
    audit_log: str | None = Field(
        None,
        description="Second copy of the audit records: a file that JSON lines are appended to, "
        "syslog:, syslog:/path/of/socket, syslog://host:514 (UDP) or syslog+tls://host:6514.",
    )
    audit_log_ca_file: Path | None = Field(
        None,
        description="PEM file of the authorities that such a host's certificate is verified by; by "
        "default the system's.",
    )
    audit_log_size: int = Field(
        2048,
        ge=0,
        le=1 << 20,
        description="MiB of such a file; then it is renamed, with .old at its end, in place of the "
        "one before. 0: never.",
    )
    max_staleness: int = Field(
        60,
        ge=0,
        le=3600,
        description="Seconds for which tokens go on from what is known while the store cannot be "
        "reached; 0 turns it off.",
    )
    spool_dir: Path | None = Field(
        None,
        description="Directory in which records of token requests wait while the store takes none; "
        "by default spool under data_dir.",
    )
    spool_size: int = Field(
        64,
        ge=1,
        le=65536,
        description="MiB of such records that each worker keeps; when they are full no tokens are "
        "issued.",
    )
    log_format: Literal["console", "json"] = Field(
        "console", description="Form of the log on standard error."
    )

    @model_validator(mode="before")
    @classmethod
    def _same_port(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Have the realm name the port that is listened on, unless it is said otherwise."""
        port = str(values.get("port", cls.model_fields["port"].default))
        if port.isdecimal() and int(port) < 2**16 and "public_url" not in values:
            scheme = "https" if values.get("tls_certificate_file") else "http"
            return {**values, "public_url": f"{scheme}://localhost:{port}"}
        return values

    @model_validator(mode="after")
    def _whole(self) -> "Settings":
        if (self.tls_certificate_file is None) != (self.tls_key_file is None):
            raise ValueError(
                "AUTHSERVER_TLS_CERTIFICATE_FILE and AUTHSERVER_TLS_KEY_FILE: set both or neither"
            )
        if self.unix_socket is not None and self.tls_key_file is not None:
            raise ValueError("AUTHSERVER_UNIX_SOCKET: TLS is not served on a Unix socket")
        self._check_administration()
        self._check_audit_log()
        return self

    def _check_administration(self) -> None:
        if (self.admin_tls_certificate_file is None) != (self.admin_tls_key_file is None):
            raise ValueError(
                "AUTHSERVER_ADMIN_TLS_CERTIFICATE_FILE and AUTHSERVER_ADMIN_TLS_KEY_FILE: "
                "set both or neither"
            )
        own = self.admin_tls_key_file or self.admin_client_ca_file
        if own is not None and not isinstance(self.admin_place, tuple):
            raise ValueError(
                "AUTHSERVER_ADMIN_TLS_KEY_FILE, AUTHSERVER_ADMIN_CLIENT_CA_FILE: TLS is served on "
                "an address: set AUTHSERVER_ADMIN_LISTEN, like 127.0.0.1:5002"
            )
        if self.admin_client_ca_file is not None and self.admin_tls_files is None:
            raise ValueError(
                "AUTHSERVER_ADMIN_CLIENT_CA_FILE: clients show certificates in TLS only: set "
                "AUTHSERVER_ADMIN_TLS_CERTIFICATE_FILE and AUTHSERVER_ADMIN_TLS_KEY_FILE"
            )
        if self.unix_socket is not None and self.admin_place == self.unix_socket:
            raise ValueError(
                "AUTHSERVER_ADMIN_LISTEN: this is AUTHSERVER_UNIX_SOCKET; choose another"
            )

    @field_validator("public_url")
    @classmethod
    def _public_url(cls, value: str) -> str:
        if not re.fullmatch(r"[!#-\[\]-~]+", value):
            raise ValueError("must be printable ASCII without spaces, quotes and backslashes")
        url = urlsplit(value)
        if url.scheme not in ("http", "https") or not url.hostname or url.query or url.fragment:
            raise ValueError("must be a URL like https://auth.example.com, without a query")
        if url.username or url.password:
            raise ValueError("must not hold a user name: everybody is told this URL")
        _ = url.port  # raises what names a port that is none
        return value.rstrip("/")

    @field_validator("metrics_listen", "admin_listen")
    @classmethod
    def _port(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None or value.startswith(UNIX):
            return value
        if not 0 < int(value.rpartition(":")[2]) < 2**16:
            raise ValueError(REMEDIES[str(info.field_name)])
        return value

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _trusted_proxies(cls, value: object) -> object:
        return re.split(r"[,\s]+", value.strip()) if isinstance(value, str) else value

    @field_validator("proxy_header")
    @classmethod
    def _proxy_header(cls, value: str) -> str:
        if value.lower() == "forwarded":
            raise ValueError(
                "must not be Forwarded (RFC 7239), which is not read yet: have the proxy set "
                "X-Forwarded-For to the client's address, and name that"
            )
        return value

    @field_validator("issuer")
    @classmethod
    def _issuer(cls, value: str) -> str:
        try:
            return service_name(value)
        except Refused as error:
            raise ValueError(str(error).replace("a registry's service", "an issuer")) from None

    @field_validator("database_url")
    @classmethod
    def _database_url(cls, value: SecretStr | None) -> SecretStr | None:
        remedy = (
            "must be a URL like sqlite:////var/lib/authserver/authserver.db or "
            "postgresql://authserver:PASSWORD@db.example.com/authserver; "
            "in a password write @ as %40, : as %3A and / as %2F"
        )
        try:
            scheme = make_url(value.get_secret_value()).drivername if value else "sqlite"
        except (ArgumentError, ValueError):
            raise ValueError(remedy) from None
        if scheme not in ("sqlite", *_POSTGRESQL):
            raise ValueError(remedy)
        return value

    @field_validator("limits_url")
    @classmethod
    def _limits_url(cls, value: SecretStr | None) -> SecretStr | None:
        scheme, separator, rest = value.get_secret_value().partition("://") if value else ("",) * 3
        if value is not None and not (scheme in LIMITS_SCHEMES and separator and rest):
            raise ValueError(
                "must be a URL like redis://redis.example.com:6379/0; "
                f"it may begin with {', '.join(LIMITS_SCHEMES)}"
            )
        return value

    @field_validator("audit_log")
    @classmethod
    def _audit_log(cls, value: str | None) -> str | None:
        if value is not None:
            parse_log(value)
        return value

    def _check_audit_log(self) -> None:
        named = self.audit_log_ca_file is not None
        if named and urlsplit(self.audit_log or "").scheme != SYSLOG_TLS:
            raise ValueError(
                "AUTHSERVER_AUDIT_LOG_CA_FILE: only syslog over TLS has a certificate: set "
                "AUTHSERVER_AUDIT_LOG, like syslog+tls://logs.example.com"
            )

    @property
    def store_url(self) -> URL:
        """Return the SQLAlchemy URL of the store, its password included."""
        if self.database_url is None:
            return URL.create("sqlite", database=str(self.data_dir.absolute() / "authserver.db"))
        url = make_url(self.database_url.get_secret_value())
        return url.set(drivername="postgresql+psycopg") if url.drivername in _POSTGRESQL else url

    @property
    def pool(self) -> Pool:
        return Pool(
            self.database_pool_size, self.database_pool_timeout, self.database_connect_timeout
        )

    @property
    def master_key_path(self) -> Path:
        return self.master_key_file or self.data_dir / "master.key"

    @property
    def spool_path(self) -> Path:
        return self.spool_dir or self.data_dir / "spool"

    @property
    def metrics_address(self) -> tuple[str, int] | None:
        """Return the host and the port on which metrics are served."""
        return _address(self.metrics_listen) if self.metrics_listen else None

    @property
    def admin_place(self) -> tuple[str, int] | Path | None:
        """Return the host and the port, or the Unix socket, on which the admin API is served."""
        if self.admin_listen is None:
            return None
        if self.admin_listen.startswith(UNIX):
            return Path(self.admin_listen.removeprefix(UNIX))
        return _address(self.admin_listen)

    @property
    def tls_files(self) -> tuple[Path, Path] | None:
        """Return the files of the public listener's certificate and of its key."""
        certificate, key = self.tls_certificate_file, self.tls_key_file
        return (certificate, key) if certificate and key else None

    @property
    def admin_tls_files(self) -> tuple[Path, Path] | None:
        """Return such files for the admin API on an address."""
        certificate, key = self.admin_tls_certificate_file, self.admin_tls_key_file
        return (certificate, key) if certificate and key else self.tls_files

    @property
    def scheme(self) -> str:
        """Return what is spoken on the listener, as a URL's scheme."""
        return "https" if self.tls_certificate_file else "http"

    @property
    def realm(self) -> str:
        return f"{self.public_url}/token"

    def invitation_link(self, code: str) -> str:
        """Return the page on which an invited user sets a password."""
        # What follows a # is not sent to servers: the code does not get into anybody's log.
        return f"{self.public_url}/invitation#{code}"

    @property
    def public_port(self) -> int | None:
        """Return the port of this server that ``public_url`` names, None if it is elsewhere."""
        url = urlsplit(self.public_url)
        ours = url.hostname == "localhost" and url.scheme == self.scheme
        if not ours or self.unix_socket is not None:
            return None
        return url.port or {"http": 80, "https": 443}[self.scheme]

    @property
    def path_prefix(self) -> str:
        """Return the path of ``public_url``; a proxy may leave it in the requests it passes on."""
        return urlsplit(self.public_url).path

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        # What is passed in comes from files, and the environment stands above files.
        return env_settings, init_settings


def _address(listen: str) -> tuple[str, int]:
    host, _, port = listen.rpartition(":")
    return host.strip("[]"), int(port)


def bracketed(host: str) -> str:
    """Return a host as it stands in a URL."""
    return f"[{host}]" if ":" in host else host
