"""Ids and keys, as in s3py-helper."""

import uuid
from pathlib import PurePosixPath

from polystow import NameHint, new_key
from polystow_s3py_helper.storage.exceptions.storage_exceptions import (
    InvalidArgumentException,
    translated,
)


def parse_s3_file_id(file_id: str) -> tuple[str, str]:
    """Split `bucket/key` at its first slash.

    Raises:
        InvalidArgumentException: There is no bucket or no key.
    """
    bucket, _, key = file_id.partition("/")
    if not bucket or not key:
        raise InvalidArgumentException(
            f"Invalid S3 file_id format: '{file_id}'. Expected 'bucket/key'."
        )
    return bucket, key


def build_s3_file_id(bucket: str, key: str) -> str:
    """`bucket/key`."""
    return f"{bucket}/{key}"


def extract_file_extension(file_name: str) -> str:
    """The extension in lower case, without its dot; empty if there is none."""
    return PurePosixPath(file_name).suffix.lstrip(".").lower()


def generate_object_key(file_name: str, folder: str | None = None) -> str:
    """A key that is not taken: `[folder/]<16 hex digits>_<filename>`.

    Raises:
        InvalidArgumentException: The name can't be part of a key.
    """
    with translated(f"The name {file_name!r} can't be used"):
        return new_key(NameHint(file_name, folder))


def hex_key(hint: NameHint) -> str:
    """A key in the form of s3py-helper's code: `[folder/]<32 hex digits>[.<extension>]`."""
    extension = extract_file_extension(hint.filename)
    folder = (hint.folder or "").strip("/")
    name = uuid.uuid4().hex + (f".{extension}" if extension else "")
    return f"{folder}/{name}" if folder else name
