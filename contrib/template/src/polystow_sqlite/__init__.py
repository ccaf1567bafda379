"""A Polystow driver for objects in a SQLite file: `open_storage("sqlite:///srv/objects.db")`."""

from polystow_sqlite._spec import SqliteConfig

__all__ = ["SqliteConfig"]
