"""How the gateway's ids look to the client's driver, and the other way."""

from attrs import evolve, frozen

from polystow import (
    BatchResult,
    Failure,
    NameHint,
    ObjectInfo,
    StorageError,
    Target,
    check_filename,
    parse_id,
    parse_object_path,
)
from polystow_gateway._wire import Hint, WireTarget, hint_of


@frozen
class Naming:
    """How ids of the gateway look below one of its mounts, and the other way.

    Attributes:
        mount: The mount; None where paths are the gateway's ids themselves.
    """

    mount: str | None

    def outward(self, path: str) -> str:
        """A path of the client's driver as an id of the gateway."""
        return path if self.mount is None else f"{self.mount}://{path}"

    def check(self, path: str, max_key_bytes: int) -> None:
        """Refuse a path that can't be an object's, before anything is sent.

        Raises:
            InvalidPathError: It can't.
        """
        inner = path
        if self.mount is None and not path.startswith("/"):
            # An id of the gateway; what a composite there makes of the rest, it says itself.
            inner = parse_id(path).path
        parse_object_path(inner, max_key_bytes=max_key_bytes)

    def inward(self, file_id: str) -> str:
        """An id of the gateway as a path of the client's driver."""
        return file_id if self.mount is None else file_id.removeprefix(f"{self.mount}://")

    def hint(self, name: NameHint, default_container: str | None) -> Hint:
        """A new object's name on its way."""
        check_filename(name.filename)
        container = name.container or default_container
        return hint_of(evolve(name, container=container, mount=self.mount))

    def target(self, target: Target, default_container: str | None) -> WireTarget:
        """A target on its way."""
        if isinstance(target, NameHint):
            return self.hint(target, default_container)
        return self.outward(target)

    def info(self, info: ObjectInfo) -> ObjectInfo:
        """What the gateway tells of an object, as the client's driver does."""
        short_id = info.short_id
        if (
            self.mount is not None
            and short_id is not None
            and short_id.startswith(f"{self.mount}:")
        ):
            short_id = None
        return evolve(info, path=self.inward(info.path), short_id=short_id)

    def error[E: StorageError](self, error: E) -> E:
        """An error of the gateway's as one of the client's driver; the error itself."""
        if error.path is not None:
            error.path = self.inward(error.path)
        error.driver = "gateway"
        return error

    def batch(self, result: BatchResult) -> BatchResult:
        """What the gateway tells of a batch, as the client's driver does."""
        failed = [Failure(self.inward(path), self.error(error)) for path, error in result.failed]
        return BatchResult([self.inward(path) for path in result.succeeded], failed)
