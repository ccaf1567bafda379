"""The tables and the statements on them; all of it blocks."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from sqlite3 import Connection

from attrs import evolve

import polystow as ps
from polystow_sqlite._errors import NAME

# Ids are never used again, so they are entity tags too. Paths are bytes, which sort as keys do.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS containers (name TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS objects (
    path BLOB NOT NULL UNIQUE, size INTEGER NOT NULL, filename TEXT, content_type TEXT,
    id INTEGER PRIMARY KEY AUTOINCREMENT, modified TEXT NOT NULL, metadata TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS chunks (
    id INTEGER PRIMARY KEY, object INTEGER NOT NULL, start INTEGER NOT NULL, data BLOB NOT NULL,
    UNIQUE (object, start));
CREATE TRIGGER IF NOT EXISTS deleted AFTER DELETE ON objects
    BEGIN DELETE FROM chunks WHERE object = OLD.id; END;
"""


def prepare(db: Connection, _: str) -> None:
    """Make the tables; thanks to the WAL, readers see what they saw while others write."""
    if db.execute("PRAGMA journal_mode = WAL").fetchone() != ("wal",):
        raise ps.ConfigError("SQLite can't have a WAL here: give a file on a local disk")
    db.executescript(_SCHEMA)


def _key(path: str, version: str | None = None) -> bytes:
    ps.parse_object_path(path)
    if version is not None:
        raise ps.UnsupportedOperationError("this driver keeps no versions")
    return path.encode()


def find(db: Connection, path: str, version: str | None = None) -> ps.ObjectInfo:
    """What is known of an object."""
    key = _key(path, version)
    row = db.execute("SELECT * FROM objects WHERE path = ?", (key,)).fetchone()
    if row is None:
        raise ps.NotFoundError("there is no such object")
    return _info(*row)


def _info(
    key: bytes, size: int, name: str, kind: str, etag: int, modified: str, metadata: str
) -> ps.ObjectInfo:
    changed, entries = datetime.fromisoformat(modified), json.loads(metadata)
    return ps.ObjectInfo(
        key.decode(), size, name, kind, str(etag), modified=changed, metadata=entries
    )


def check_match(etag: str | None, if_match: str | None) -> None:
    """Refuse what has another entity tag than it should have."""
    if if_match not in {None, etag}:
        raise ps.PreconditionFailedError(f"its entity tag is {etag!r}, not {if_match!r}")


def read(db: Connection, _: str, etag: str | None, place: int, length: int) -> bytes:
    """Some bytes of an object, at most `length`, through one small buffer."""
    chunks = "SELECT id, start FROM chunks WHERE object = ? AND start <= ?"
    row = db.execute(f"{chunks} ORDER BY start DESC LIMIT 1", (etag, place)).fetchone()
    if row is None:
        raise ps.StorageError("the database is damaged: a chunk is missing")
    rowid, start = row
    with db.blobopen("chunks", "data", rowid, readonly=True) as blob:
        blob.seek(place - start)
        return blob.read(length)


def stage(db: Connection, _: str, start: int, data: bytes) -> None:
    """Put a part of an object aside, in a file that is gone with the connection."""
    db.execute("CREATE TEMP TABLE IF NOT EXISTS staged (start INTEGER PRIMARY KEY, data BLOB)")
    db.execute("INSERT OR REPLACE INTO staged VALUES (?, ?)", (start, data))


def stage_copy(db: Connection, path: str) -> ps.ObjectInfo:
    """Put an object's content aside; what is known of it."""
    stage(db, path, 0, b"")
    with db:
        db.execute("BEGIN")
        info = find(db, path)
        chunks = "SELECT start, data FROM chunks WHERE object = ?"
        db.execute(f"INSERT OR REPLACE INTO staged {chunks}", (info.etag,))
    return info


def publish(
    db: Connection, path: str, new: ps.ObjectInfo, options: ps.WriteOptions
) -> ps.ObjectInfo:
    """Make an object of what was put aside, if the conditions hold."""
    with db:
        db.execute("BEGIN IMMEDIATE")  # nobody else writes from here on
        key, text, now = path.encode(), encode(new.metadata or {}), datetime.now(UTC)
        old = db.execute("SELECT id FROM objects WHERE path = ?", (key,)).fetchone()
        if old is not None and not options.overwrite:
            raise ps.AlreadyExistsError("it is there already, and overwrite is False")
        check_match(None if old is None else str(old[0]), options.if_match)
        db.execute("DELETE FROM objects WHERE path = ?", (key,))
        db.execute("INSERT OR IGNORE INTO containers VALUES (?)", (path.partition("/")[0],))
        values = (key, new.size, new.filename, new.content_type, None, now.isoformat(), text)
        made = db.execute("INSERT INTO objects VALUES (?, ?, ?, ?, ?, ?, ?)", values)
        db.execute("INSERT INTO chunks SELECT NULL, ?, * FROM staged", (made.lastrowid,))
    return evolve(new, path=path, etag=str(made.lastrowid), modified=now)


def encode(metadata: Mapping[str, str]) -> str:
    """Metadata as it is stored."""
    try:
        return json.dumps(dict(metadata), ensure_ascii=False).encode().decode()
    except UnicodeEncodeError:
        raise ps.InvalidMetadataError("an entry is no UTF-8 text: a lone surrogate") from None


def set_metadata(
    db: Connection, path: str, new: Mapping[str, str], options: ps.MetadataOptions
) -> None:
    """Change the user's entries and nothing else."""
    with db:
        db.execute("BEGIN IMMEDIATE")
        old = find(db, path).metadata or {}
        text = encode({**old, **new} if options.mode == "merge" else new)
        db.execute("UPDATE objects SET metadata = ? WHERE path = ?", (text, path.encode()))


def delete(db: Connection, path: str, options: ps.DeleteOptions) -> None:
    """Delete an object; its chunks go with it."""
    key = _key(path, options.version)
    done = db.execute("DELETE FROM objects WHERE path = ?", (key,))
    if not done.rowcount and not options.missing_ok:
        raise ps.NotFoundError("there is no such object")


def delete_many(
    db: Connection, _: str, paths: tuple[str, ...], options: ps.DeleteOptions
) -> ps.BatchResult:
    """Delete objects in one transaction."""
    failed: dict[str, ps.Failure] = {}
    with db:
        db.execute("BEGIN IMMEDIATE")
        for path in paths:
            try:
                delete(db, path, options)
            except ps.StorageError as error:
                error.in_operation("delete_many", path, NAME)
                failed[path] = ps.Failure(path, error)
    return ps.BatchResult([path for path in paths if path not in failed], [*failed.values()])


def check(db: Connection, path: str) -> None:
    """Look for a container; the empty one stands for the database itself."""
    row = db.execute("SELECT 1 FROM containers WHERE name = ?", (path,)).fetchone()
    if path and row is None:
        raise ps.NotFoundError("there is no such container")


def list_page(
    db: Connection, path: str, options: ps.ListOptions, cursor: str | None
) -> ps.ListPage:
    """A page; its cursor is the least path that may come next, in hexadecimal digits."""
    container, _, prefix = path.partition("/")
    if not container:
        raise ps.InvalidPathError("no container: write container/prefix")
    check(db, container)
    first = f"{container}/{prefix}".encode()
    after = f"{container}/{options.start_after}\0".encode() if options.start_after else b""
    place = max(first, after, bytes.fromhex(cursor or ""))
    delimiter = (options.delimiter or "").encode()
    items: list[ps.ObjectInfo] = []
    prefixes: list[str] = []
    statement = "SELECT * FROM objects WHERE path >= ? AND path < ? ORDER BY path LIMIT 1"
    for _ in range(options.page_size):
        # No text has the byte 255, so it sorts after all that begins with a text.
        row = db.execute(statement, (place, first + b"\xff")).fetchone()
        if row is None:
            return ps.ListPage(items, prefixes)
        found: bytes = row[0]
        cut = found.find(delimiter, len(first)) + len(delimiter) if delimiter else 0
        if cut > len(first):
            prefixes.append(found[:cut].decode())
            place = found[:cut] + b"\xff"
        else:
            items.append(_info(*row))
            place = found + b"\0"
    return ps.ListPage(items, prefixes, place.hex())
