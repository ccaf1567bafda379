"""Names of new objects: the key that a `NameHint` becomes where the client names keys."""

import secrets

from polystow._errors import InvalidPathError
from polystow._ids import check_key
from polystow._values import NameHint


def new_key(hint: NameHint) -> str:
    """A key that is not taken: `[folder/]<16 hex digits>_<filename>`, as s3py-helper's.

    Args:
        hint: The name; slashes at the folder's ends are dropped.

    Raises:
        InvalidPathError: The filename is empty, `.` or `..`, has a slash, a backslash or a
            control character; or the key gets too long.
    """
    check_filename(hint.filename)
    folder = (hint.folder or "").strip("/")
    name = f"{secrets.token_hex(8)}_{hint.filename}"
    key = f"{folder}/{name}" if folder else name
    check_key(key, str(hint))
    return key


def check_filename(filename: str) -> None:
    r"""Check the name of a new file.

    Raises:
        InvalidPathError: It is empty, `.` or `..`, or has a slash, a backslash or a control
            character.
    """
    if not filename:
        raise InvalidPathError("the file name is empty", path=filename)
    if filename in {".", ".."}:
        raise InvalidPathError("that is no file name", path=filename)
    bad = next((c for c in filename if c in "/\\" or ord(c) < 32 or ord(c) == 127), None)
    if bad is not None:
        raise InvalidPathError(
            f"the file name has the character {bad!r}; give the folder apart", path=filename
        )
