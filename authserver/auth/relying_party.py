"""The place that passkeys are for (WebAuthn, section 5.1.2), from the URL of the console."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from authserver.core.urls import PORTS
from authserver.runtime.settings.public_url import is_address, is_this_machine


@dataclass(frozen=True, slots=True)
class RelyingParty:
    """The place that passkeys are for: its host, and the origin of its pages."""

    host: str
    origin: str

    @classmethod
    def of(cls, url: str) -> "RelyingParty":
        """Return the place of a URL, which is that of the console."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        shown = f"[{host}]" if ":" in host else host
        usual = parts.port in (None, PORTS.get(parts.scheme))
        return cls(host, f"{parts.scheme}://{shown}{'' if usual else f':{parts.port}'}")

    @property
    def doubt(self) -> str | None:
        """Return why browsers make no passkey for this place, None if they do."""
        if is_address(self.host):
            return f"passkeys need a name, and {self.host} is an address"
        if not self.origin.startswith("https:") and not is_this_machine(self.host):
            return f"passkeys need https, and {self.origin} is not"
        return None
