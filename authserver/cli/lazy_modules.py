"""Modules that are loaded when their first name is used: what a command does not use costs nothing.

SQLAlchemy, cryptography and pydantic take most of a command's time, and no `--help` needs them.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader
from types import ModuleType

# What a command declares itself with is needed at once.
_AT_ONCE = ("authserver.cli", "authserver.core")
_LIBRARIES = ("pydantic", "structlog")


class _LazyFinder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a module that a command's module imports, to be loaded later."""
        ours = fullname.startswith("authserver.") and not fullname.startswith(_AT_ONCE)
        if not ours and fullname not in _LIBRARIES:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = LazyLoader(spec.loader)
        return spec


@contextmanager
def loaded_late() -> Iterator[None]:
    """Load modules that are imported in this block when their first name is used."""
    finder = _LazyFinder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


def load_all() -> None:
    """Load the modules whose names nothing has used yet."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in ("authserver", *_LIBRARIES):
            # Any name does it.
            hasattr(module, "__doc__")
