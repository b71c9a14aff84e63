"""Where the stores of tests are: SQLite in the data directory, or a PostgreSQL database for each.

Tests name an installation by its data directory on both engines.
"""

import shutil
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from sqlalchemy import URL, inspect, select, text

from authserver.db.models import Base
from authserver.db.store import Store, open_store
from authserver.runtime.settings import Settings
from tests.world import SERVICE, Clock, trail_in

if TYPE_CHECKING:
    from tests.postgres import Cluster


class Engine:
    """The engine that this run of the tests is on; ``cluster`` None means SQLite."""

    cluster: ClassVar["Cluster | None"] = None
    made: ClassVar[dict[Path, str]] = {}


def url(data_dir: Path) -> URL | None:
    """Return the URL of an installation's database, None if it is in its data directory.

    A database that was not there is made, as SQLite makes its file.
    """
    cluster = Engine.cluster
    if cluster is None:
        return None
    return cluster.url(_database(cluster, data_dir))


def _database(cluster: "Cluster", data_dir: Path, template: str = "template1") -> str:
    if data_dir not in Engine.made:
        name = f"t{sha256(bytes(data_dir)).hexdigest()[:20]}"
        cluster.create(name, template)
        Engine.made[data_dir] = name
    return Engine.made[data_dir]


def environ(data_dir: Path) -> dict[str, str]:
    """Return the settings that name an installation and its store, and its registry."""
    named = {"AUTHSERVER_DATA_DIR": str(data_dir), "AUTHSERVER_REGISTRY": SERVICE}
    if (database := url(data_dir)) is not None:
        named["AUTHSERVER_DATABASE_URL"] = database.render_as_string(hide_password=False)
    return named


def settings(data_dir: Path, **more: object) -> Settings:
    """Return the settings of an installation."""
    if (database := url(data_dir)) is not None:
        more["database_url"] = database.render_as_string(hide_password=False)
    return Settings.model_validate({"data_dir": data_dir, "bcrypt_cost": 4} | more)


def opened(data_dir: Path, clock: Clock | None = None) -> Store:
    """Return the store of an installation."""
    chosen = settings(data_dir)
    return open_store(chosen.store_url, clock or Clock(), trail=trail_in(chosen))


def dumped(store: Store) -> str:
    """Return all that a store holds, as text."""
    with store.engine.connect() as connection:
        tables = inspect(connection).get_table_names()
        rows = [connection.execute(text(f"SELECT * FROM {table}")).all() for table in tables]
    return repr(rows)


def contents(store: Store) -> dict[str, Any]:
    """Return every row, ordered by key."""
    with store.engine.connect() as connection:
        return {
            table.name: list(connection.execute(select(table).order_by(*table.primary_key)))
            for table in Base.metadata.sorted_tables
        }


def copied(template: Path, data_dir: Path) -> Path:
    """Make a copy of an installation that is not in use."""
    shutil.copytree(template, data_dir)
    if Engine.cluster is not None:
        _database(Engine.cluster, data_dir, Engine.made[template])
    return data_dir


def drop_below(directory: Path) -> None:
    """Remove the databases of the installations in a directory."""
    if Engine.cluster is None:
        return
    for data_dir in [path for path in Engine.made if path.is_relative_to(directory)]:
        Engine.cluster.drop(Engine.made.pop(data_dir))


def put_out_of_reach(data_dir: Path) -> None:
    """Let nobody open a store any more: something else stands in its file's place."""
    if Engine.cluster is not None:
        Engine.cluster.close(Engine.made[data_dir])
        return
    path = data_dir / "authserver.db"
    path.rename(path.with_suffix(".away"))
    path.mkdir()


def put_within_reach(data_dir: Path) -> None:
    """Let a store be opened again."""
    if Engine.cluster is not None:
        Engine.cluster.open(Engine.made[data_dir])
        return
    path = data_dir / "authserver.db"
    path.rmdir()
    path.with_suffix(".away").rename(path)
