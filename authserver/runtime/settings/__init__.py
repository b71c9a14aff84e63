"""Settings: what there are, where they come from."""

from authserver.runtime.settings import public_url
from authserver.runtime.settings.loading import OTHER_NAMES, SECRETS, Loaded, load
from authserver.runtime.settings.model import Pool, Settings, bracketed, sqlite_url
from authserver.runtime.settings.sample import sample

__all__ = [
    "OTHER_NAMES",
    "SECRETS",
    "Loaded",
    "Pool",
    "Settings",
    "bracketed",
    "load",
    "public_url",
    "sample",
    "sqlite_url",
]
