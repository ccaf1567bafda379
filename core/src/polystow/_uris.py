"""Taking ids apart and putting them together, without a storage."""

from typing import Self

from attrs import frozen

from polystow._errors import InvalidPathError
from polystow._ids import check_key, format_file_id, format_uri, is_scheme, parse_id
from polystow._value import Value

_COMPRESSED = frozenset({"br", "bz2", "gz", "lz", "lz4", "lzma", "xz", "z", "zst"})


@frozen(eq=False, repr=False)
class Uri(Value):
    """An id, taken apart: `str(Uri.parse("s3:b/a.txt"))` is its canonical form.

    Ids are literal: nothing is decoded, `.`, `..` and empty segments of a key are ordinary. An
    id of a composite inside a composite keeps all behind the outermost scheme as it stands.

    ```python
    report = Uri.parse("s3:bucket/reports/a.tar.gz")
    report.container, report.key          # "bucket", "reports/a.tar.gz"
    report.filename, report.extension     # "a.tar.gz", "tar.gz"
    str(report.parent / "b.txt")          # "s3://bucket/reports/b.txt"
    ```

    Attributes:
        scheme: The mount that it names; None for a bare id.
        container: Bucket, group or directory.
        key: The object's name in it; empty for the container itself.

    Raises:
        InvalidPathError: The scheme is none, the container is empty or has a slash, the key is
            too long or no UTF-8 text, or without a scheme the container has a colon.
    """

    scheme: str | None
    container: str
    key: str = ""

    def __attrs_post_init__(self) -> None:
        if self.scheme is None:
            if ":" in self.container:
                raise InvalidPathError(
                    "without a scheme, what stands before its colon would be one", path=str(self)
                )
        elif not is_scheme(self.scheme):
            raise InvalidPathError(
                f"{self.scheme[:40]!r} can't be a scheme: it has to match [a-z][a-z0-9+.-]+",
                path=str(self),
            )
        if not self.container or "/" in self.container:
            raise InvalidPathError(
                f"{self.container[:80]!r} can't be a container: write scheme://container/key",
                path=str(self),
            )
        check_key(self.key, str(self))

    @classmethod
    def parse(cls, file_id: str) -> Self:
        """Take an id of any form apart.

        Raises:
            InvalidPathError: It is no id.
        """
        scheme, path = parse_id(file_id)
        container, _, key = path.partition("/")
        return cls(scheme, container, key)

    @classmethod
    def is_valid(cls, text: str) -> bool:
        """Whether a text is an id of any form, with a container and a key."""
        try:
            return bool(cls.parse(text).key)
        except InvalidPathError:
            return False

    @property
    def path(self) -> str:
        """`container/key`."""
        return f"{self.container}/{self.key}"

    @property
    def file_id(self) -> str:
        """The short form, `scheme:container/key`; a bare id itself."""
        return self.path if self.scheme is None else format_file_id(self.scheme, self.path)

    @property
    def filename(self) -> str:
        """The key's last segment; empty if it ends in a slash."""
        return self.key.rpartition("/")[2]

    @property
    def extension(self) -> str:
        """The file name's extension without its dot, as it is written; see `extension_of`."""
        return extension_of(self.filename)

    @property
    def stem(self) -> str:
        """The file name without its extension."""
        return self.filename.removesuffix(f".{self.extension}") if self.extension else self.filename

    @property
    def parent(self) -> Self:
        """The prefix that the id stands below, with its slash; of a container, itself."""
        folder, slash, _ = self.key.rstrip("/").rpartition("/")
        return type(self)(self.scheme, self.container, folder + slash)

    def join(self, *segments: str) -> Self:
        """The id below this one; slashes at a segment's beginning are dropped."""
        key = self.key
        for segment in segments:
            slash = "/" if key and not key.endswith("/") else ""
            key = f"{key}{slash}{segment.lstrip('/')}"
        return type(self)(self.scheme, self.container, key)

    def __truediv__(self, segment: str) -> Self:
        return self.join(segment)

    def __str__(self) -> str:
        return self.path if self.scheme is None else format_uri(self.scheme, self.path)


def extension_of(filename: str) -> str:
    """The extension without its dot; `tar.gz` and its like are one.

    A dot at the name's beginning begins no extension: `.profile` has none.
    """
    stem, dot, extension = filename.rpartition(".")
    if not dot or not stem.strip("."):
        return ""
    if extension.lower() in _COMPRESSED:
        inner, inner_dot, tar = stem.rpartition(".")
        if inner_dot and inner.strip(".") and tar.lower() == "tar":
            return f"{tar}.{extension}"
    return extension
