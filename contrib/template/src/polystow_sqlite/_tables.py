"""The tables and the statements on them; all of it blocks."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from sqlite3 import Connection
from typing import Any

import polystow as ps

# Ids are never used again, so they are entity tags too.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS containers (name TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS objects (
    container TEXT, key TEXT, size INTEGER, modified TEXT, entry TEXT,
    id INTEGER PRIMARY KEY AUTOINCREMENT, UNIQUE (container, key));
CREATE TABLE IF NOT EXISTS chunks (
    object INTEGER, start INTEGER, data BLOB, UNIQUE (object, start));
CREATE TRIGGER IF NOT EXISTS deleted AFTER DELETE ON objects
    BEGIN DELETE FROM chunks WHERE object = OLD.id; END;
"""


def prepare(db: Connection) -> None:
    """Make the tables; thanks to the WAL, readers see what they saw while others write."""
    if db.execute("PRAGMA journal_mode = WAL").fetchone() != ("wal",):
        raise ps.ConfigError("SQLite can't have a WAL here: give a file on a local disk")
    db.executescript(_SCHEMA)


def find(path: str, db: Connection) -> ps.ObjectInfo:
    """What is known of an object."""
    place = ps.parse_object_path(path)
    row = db.execute("SELECT * FROM objects WHERE container = ? AND key = ?", place).fetchone()
    if row is None:
        raise ps.NotFoundError("there is no such object")
    return _info(row)


def _info(row: tuple[str, str, int, str, str, int]) -> ps.ObjectInfo:
    container, key, size, modified, entry, etag = row
    kept: dict[str, Any] = json.loads(entry)
    changed = datetime.fromisoformat(modified)
    return ps.ObjectInfo(f"{container}/{key}", size, etag=str(etag), modified=changed, **kept)


def check_match(etag: str | None, if_match: str | None) -> None:
    """Refuse what has another entity tag than it should have."""
    if if_match not in {None, etag}:
        raise ps.PreconditionFailedError(f"its entity tag is {etag!r}, not {if_match!r}")


def read(etag: str | None, place: int, length: int, db: Connection) -> bytes:
    """Some bytes of an object, at most `length`."""
    rows = db.execute(
        "SELECT substr(data, ?2 - start + 1, ?3) FROM chunks WHERE object = ?1 AND start <= ?2 "
        "ORDER BY start DESC LIMIT 1",
        (etag, place, length),
    )
    return bytes(rows.fetchone()[0])


def stage(start: int, data: bytes, db: Connection) -> None:
    """Put a part of an object aside, in a file that is gone with the connection."""
    db.execute("CREATE TEMP TABLE IF NOT EXISTS staged (start INTEGER PRIMARY KEY, data BLOB)")
    db.execute("INSERT OR REPLACE INTO staged VALUES (?, ?)", (start, data))


def publish(
    path: str, target: ps.Target, size: int, options: ps.WriteOptions, db: Connection
) -> ps.ObjectInfo:
    """Make an object of what was put aside, if the conditions hold."""
    stage(size, b"", db)  # so that an empty object has a table too
    place = ps.parse_object_path(path)
    kept = {"content_type": options.content_type, "metadata": dict(options.metadata)}
    filename = target.filename if isinstance(target, ps.NameHint) else options.filename
    entry = json.dumps({**kept, "filename": filename})
    with db:
        db.execute("BEGIN IMMEDIATE")  # nobody else writes from here on
        old = db.execute("SELECT id FROM objects WHERE container = ? AND key = ?", place).fetchone()
        if old and not options.overwrite:
            raise ps.AlreadyExistsError("it is there already, and overwrite is False")
        check_match(str(old[0]) if old else None, options.if_match)
        delete(path, ps.DeleteOptions(), db)
        db.execute("INSERT OR IGNORE INTO containers VALUES (?)", place[:1])
        values = (*place, size, str(datetime.now(UTC)), entry)
        new = db.execute("INSERT INTO objects VALUES (?, ?, ?, ?, ?, NULL)", values)
        db.execute("INSERT INTO chunks SELECT ?, start, data FROM staged", (new.lastrowid,))
        return find(path, db)


def delete(path: str, options: ps.DeleteOptions, db: Connection) -> None:
    """Delete an object; its chunks go with it."""
    place = ps.parse_object_path(path)
    done = db.execute("DELETE FROM objects WHERE container = ? AND key = ?", place)
    if not done.rowcount and not options.missing_ok:
        raise ps.NotFoundError("there is no such object")


def list_page(
    path: str, options: ps.ListOptions, cursor: str | None, db: Connection
) -> ps.ListPage:
    """A page; SQLite compares texts by their bytes, as keys sort."""
    container, _, prefix = path.partition("/")
    if not db.execute("SELECT 1 FROM containers WHERE name = ?", (container,)).fetchone():
        kind = ps.NotFoundError if container else ps.InvalidPathError
        raise kind("there is no such container: write container/prefix")
    found: dict[str, ps.ObjectInfo] = {}

    def keys_from(after: str, /, *, inclusive: bool) -> Iterator[str]:
        query = "SELECT * FROM objects WHERE container = ? AND key >= ? ORDER BY key"
        for row in db.execute(query, (container, after)):
            if inclusive or row[1] != after:
                found[row[1]] = _info(row)
                yield row[1]

    page = ps.plan_page(keys_from, prefix, options, cursor)
    prefixes = [f"{container}/{folded}" for folded in page.prefixes]
    return ps.ListPage([found[key] for key in page.keys], prefixes, page.cursor)
