"""A Polystow driver for objects in a SQLite file: `open_storage("sqlite:///srv/objects.db")`."""

from polystow_sqlite._spec import SPEC, SqliteConfig

__all__ = ["SPEC", "SqliteConfig"]
