"""The checks of settings, and what follows from their values."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr, ValidationInfo, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from authserver.core.errors import Refused
from authserver.core.names import service_name
from authserver.core.urls import PORTS, SYSLOG_TLS, parse_log
from authserver.runtime.settings import public_url
from authserver.runtime.settings.fields import SettingsFields

PREFIX = "AUTHSERVER_"
UNIX = "unix:"
LIMITS_SCHEMES = ("redis", "rediss", "redis+unix", "valkey", "valkeys", "valkey+unix")

# As it is written by various programs; the driver is always psycopg.
_POSTGRESQL = ("postgresql", "postgres", "postgresql+psycopg")

# Headers that hold something else, or what a client wrote.
_no_address = re.compile(
    r"X-Forwarded(-(?!For$).*)?|Via|X-Real-(?!IP$).*|Host|Origin|Referer|From|Cookie2?|User-Agent|"
    r"(Proxy-)?Authorization|(Proxy-)?Connection|Accept(-.*)?|Content(-.*)?|Sec-.*|If-.*|TE|Trailer|"
    r"Transfer-Encoding|Upgrade|Expect|Range|Date|Pragma|Cache-Control|Keep-Alive|Max-Forwards|"
    r"X-Request-ID|X-Correlation-ID|Traceparent|Tracestate",
    re.IGNORECASE,
)

REMEDIES = {
    "trusted_proxies": "must be networks like 10.0.0.0/8 or 192.0.2.7/32 with commas between "
    "them, and no address bits after the prefix",
    "proxy_header": "must be the name of one header, like X-Forwarded-For",
    "cors_origins": "must be origins like https://ui.example.com or http://localhost:8080, with "
    "commas between them: no path, no *, no null",
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


class Settings(SettingsFields):
    """All settings, checked, and what follows from them."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
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

    @field_validator("public_url", "admin_url")
    @classmethod
    def _public_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        if not re.fullmatch(r"[!#-\[\]-~]+", value):
            raise ValueError("must be printable ASCII without spaces, quotes and backslashes")
        url = urlsplit(value)
        if url.scheme not in ("http", "https") or not url.hostname or url.query or url.fragment:
            raise ValueError("must be a URL like https://auth.example.com, without a query")
        if url.username or url.password:
            raise ValueError("must not hold a user name: everybody is told this URL")
        _ = url.port  # raises for a port that is not valid
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
        if _no_address.fullmatch(value):
            raise ValueError(
                f"{value} holds no address of a client: name X-Forwarded-For, Forwarded, or the "
                "header in which your proxy writes nothing but that address"
            )
        return value

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _cors_origins(cls, value: object) -> object:
        parts = re.split(r"[,\s]+", value.strip()) if isinstance(value, str) else value
        if not isinstance(parts, list | tuple):
            raise ValueError(REMEDIES["cors_origins"])  # noqa: TRY004 - pydantic's way
        return tuple(_origin(str(part)) for part in parts)

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
            return sqlite_url(self.data_dir / "authserver.db")
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
    def console_url(self) -> str | None:
        """Return where browsers find the pages of administrators; None if that is not known."""
        if self.console == "off":
            return None
        url = self.public_url if self.admin_listen is None else self.admin_url
        if url is None and isinstance(place := self.admin_place, tuple):
            scheme = "https" if self.admin_tls_files else "http"
            url = f"{scheme}://{bracketed(place[0])}:{place[1]}"
        return None if url is None else f"{url}/console/"

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

    def contradictions(self, host: str | None = None) -> list[str]:
        """Return why clients will not find the server; ``host`` takes the place of the setting."""
        listening = None if self.unix_socket else host or self.host
        return public_url.contradictions(self.public_url, listening)

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


def _origin(text: str) -> str:
    """Return an origin as browsers write it (RFC 6454, 6.2): in small letters, no usual port."""
    matched = re.fullmatch(r"(https?)://([a-z0-9.-]+|\[[0-9a-f:.]+\])(?::(\d{1,5}))?", text.lower())
    if matched is None:
        raise ValueError(REMEDIES["cors_origins"])
    scheme, host, port = matched.groups()
    if port is None or int(port) == PORTS[scheme]:
        return f"{scheme}://{host}"
    return f"{scheme}://{host}:{int(port)}"


def _address(listen: str) -> tuple[str, int]:
    host, _, port = listen.rpartition(":")
    return host.strip("[]"), int(port)


def sqlite_url(file: Path) -> URL:
    """Return the URL of an embedded store."""
    return URL.create("sqlite", database=str(file.absolute()))


def bracketed(host: str) -> str:
    """Return a host as it stands in a URL."""
    return f"[{host}]" if ":" in host else host
