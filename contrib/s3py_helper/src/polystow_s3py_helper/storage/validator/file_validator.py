"""The validator of s3py-helper."""

from polystow import FileRules, StorageError
from polystow_s3py_helper.storage.config.models import FileTypeConfig
from polystow_s3py_helper.storage.exceptions.storage_exceptions import (
    InvalidArgumentException,
    InvalidFileTypeException,
)
from polystow_s3py_helper.storage.utils.file_utils import extract_file_extension

_NAMES = FileRules()


class FileValidatorImpl:
    """Checks names, types and sizes.

    Args:
        file_type_config: Which extensions are allowed; None for all.
        max_file_size: The largest file, in bytes; None for no limit.
    """

    def __init__(
        self,
        file_type_config: FileTypeConfig | None = None,
        max_file_size: int | None = None,
    ) -> None:
        types = file_type_config or FileTypeConfig()
        self._whitelist = [_extension(entry) for entry in types.whitelist]
        self._blacklist = [_extension(entry) for entry in types.blacklist]
        self._max_file_size = max_file_size

    @property
    def max_file_size(self) -> int | None:
        """The largest file, in bytes; None for no limit."""
        return self._max_file_size

    def validate_file_name(self, file_name: str) -> None:
        """Refuse what is no plain name.

        Raises:
            InvalidArgumentException: It is empty, or has `..`, a separator or a control character.
        """
        if not file_name or not file_name.strip():
            raise InvalidArgumentException("File name must not be empty.")
        for pattern in ("..", "/", "\\"):
            if pattern in file_name:
                raise InvalidArgumentException(
                    f"File name '{file_name}' contains illegal character: '{pattern}'."
                )
        try:
            _NAMES.check_name(file_name)
        except StorageError as error:
            raise InvalidArgumentException(str(error)) from error

    def validate_file_type(self, file_name: str) -> None:
        """Compare the extension with both lists; a name without one passes if none is demanded.

        Raises:
            InvalidFileTypeException: It is not allowed.
        """
        ext = extract_file_extension(file_name)
        if ext in self._blacklist and ext:
            raise InvalidFileTypeException(f"File type '{ext}' is in blacklist: {self._blacklist}.")
        if self._whitelist and not ext:
            raise InvalidFileTypeException(f"File '{file_name}' has no file extension.")
        if self._whitelist and ext not in self._whitelist:
            raise InvalidFileTypeException(
                f"File type '{ext}' is not in whitelist: {self._whitelist}."
            )

    def validate_file_size(self, file_size: int) -> None:
        """Compare a size in bytes with the limit.

        Raises:
            InvalidArgumentException: It is negative or too large.
        """
        if file_size < 0:
            raise InvalidArgumentException(f"File size must be non-negative, got: {file_size}.")
        if self._max_file_size is not None and file_size > self._max_file_size:
            raise InvalidArgumentException(
                f"File size {file_size} exceeds maximum allowed size {self._max_file_size}."
            )


def _extension(entry: str) -> str:
    return entry.strip().removeprefix("*").removeprefix(".").lower()
