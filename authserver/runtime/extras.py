"""How an extra of this package is installed: no package index has authserver yet."""

import sys
from shlex import quote

from authserver import __version__


def how_to_install(extra: str) -> str:
    """Return the commands that install an extra beside this program."""
    pip = f"{quote(sys.executable)} -m pip install"
    wheel = f"./authserver-{__version__}-py3-none-any.whl[{extra}]"
    return f"in the checkout run `{pip} '.[{extra}]'`, beside the wheel `{pip} '{wheel}'`"
