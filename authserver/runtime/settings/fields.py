"""The settings: name, type, bounds, default and description of each.

``model.Settings`` adds the checks across settings and what follows from them. The descriptions are
the rows of docs/settings.md and the comments of docs/authserver.toml.
"""

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, NoDecode

from authserver.core.password_rules import MAX_COST, MIN_COST, MIN_LENGTH
from authserver.core.second_factor import Demanded


class SettingsFields(BaseSettings):
    """The fields. The field ``token_ttl`` is ``AUTHSERVER_TOKEN_TTL`` and ``token_ttl``."""

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
        "main", description="Service string of the registry entry that init makes."
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
        description="Unix socket that serve listens on instead of host and port. Programs that "
        "may connect to it are trusted about the client's address.",
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
    admin_url: str | None = Field(
        None,
        description="URL under which browsers reach the console at that address, like "
        "https://admin.example.com. Needed where that is neither https nor localhost.",
    )
    console: Literal["on", "off"] = Field(
        "on",
        description="Whether serve has the console, the pages at /console/. With admin_listen, "
        "those of administrators are served there alone.",
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
        description="The one header in which those proxies name the client, read from the right: "
        "X-Forwarded-For, Forwarded (RFC 7239), or another that holds addresses and nothing else.",
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Origins of pages that may ask for tokens and public keys in a browser, with "
        "commas, like https://ui.example.com; by default none.",
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
    password_min_length: int = Field(
        MIN_LENGTH,
        ge=MIN_LENGTH,
        le=64,
        description="Characters that a new password has at least, from 8 to 64; passwords that are "
        "set already and imported hashes stay good.",
    )
    remember_passwords: int = Field(
        300,
        ge=0,
        le=3600,
        description="Seconds for which a worker remembers, in memory, that a password was right; "
        "0 checks every time.",
    )
    second_factor: Demanded = Field(
        Demanded.OPTIONAL,
        description="Who must have a second factor: administrators, everybody, or nobody "
        "(optional). Until they set one up, their password opens nothing but the console's page "
        "for that.",
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
