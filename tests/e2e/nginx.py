"""The shipped nginx in front of a server of ours."""

import subprocess
from pathlib import Path

from tests.programs import require, which

DEPLOY = Path(__file__).parents[2] / "deploy"
NGINX = "127.0.0.9"
"""Where nginx connects from; clients come from elsewhere."""


def certificate(place: Path) -> tuple[Path, Path]:
    """Make a certificate for localhost and its key."""
    require("openssl")
    key, cert = place / "privkey.pem", place / "fullchain.pem"
    request = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    files = ["-nodes", "-days", "2", "-keyout", str(key), "-out", str(cert)]
    subprocess.run([*request, *names, *files], check=True, capture_output=True)
    return cert, key


def site(port: int, registry: str, authserver: int, cert: Path, key: Path) -> str:
    """Return the shipped configuration with the names of this place."""
    text = (DEPLOY / "nginx" / "registry.conf").read_text()
    for shipped, here in {
        "server 127.0.0.1:5000": f"server {registry.replace('localhost', '127.0.0.1')}",
        "server 127.0.0.1:5001": f"server 127.0.0.1:{authserver}",
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "server_name registry.example.com": "server_name localhost",
        "/etc/nginx/tls/fullchain.pem": str(cert),
        "/etc/nginx/tls/privkey.pem": str(key),
    }.items():
        assert shipped in text
        text = text.replace(shipped, here)
    return text


def configured(place: Path, server: str) -> list[str]:
    """Configure an nginx with the files that it needs below ``place``; return its command."""
    require("nginx")
    (place / "site.conf").write_text(server)
    (place / "nginx.conf").write_text(_config(place))
    return [str(which("nginx")), "-p", str(place), "-c", str(place / "nginx.conf")]


def _config(place: Path) -> str:
    temp = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "".join(f"{name}_temp_path {place}/nginx-{name};" for name in temp)
    # As another user it could not keep a large body below pytest's directory.
    return (
        f"daemon off; user root root; pid {place}/nginx.pid; error_log stderr; events {{}}"
        f"http {{ access_log off; proxy_bind {NGINX}; {paths} include {place}/site.conf; }}"
    )
