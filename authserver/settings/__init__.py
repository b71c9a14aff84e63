"""Settings: what there are, where they come from."""

from authserver.settings.loading import OTHER_NAMES, SECRETS, Loaded, load
from authserver.settings.model import Pool, Settings, bracketed
from authserver.settings.sample import sample

__all__ = ["OTHER_NAMES", "SECRETS", "Loaded", "Pool", "Settings", "bracketed", "load", "sample"]
