"""How a driver is announced: the value of an entry point in the group `polystow.drivers`."""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any
from urllib.parse import SplitResult

from attrs import field, frozen

from polystow._driver import API_VERSION, StorageDriver
from polystow._policy import RequestPolicy
from polystow._value import Value

ENTRY_POINT_GROUP = "polystow.drivers"


@frozen(eq=False, repr=False)
class DriverContext(Value):
    """What a driver is handed when it is opened.

    Attributes:
        policy: To apply to each single request: `await context.policy(request, send)`. By default
            one with the defaults of `RequestPolicyConfig`.
        close_timeout_s: How long closing may wait for what is under way, in seconds.
    """

    policy: RequestPolicy = field(factory=RequestPolicy)
    close_timeout_s: float = 10.0


@frozen(eq=False, repr=False)
class DriverSpec[C](Value):
    """A driver, before it is opened. Its module imports no SDK.

    Attributes:
        name: What configurations call it, and the scheme that it is mounted under by default;
            the same as the entry point's name.
        config: Its configuration: a frozen attrs class with units in the names.
        open: Opens it; closing belongs to the context manager. Opens no connection yet.
        url_options: Turns a URL such as `s3://key:secret@host/bucket?region=x` into the keys of
            `config`, all values text; None if it has no URL form. It raises `ValueError` with
            a message that shows no secret.
        api_version: The version of the driver protocol that it was written for.
    """

    name: str
    config: type[C]
    open: Callable[[C, DriverContext], AbstractAsyncContextManager[StorageDriver]]
    url_options: Callable[[SplitResult], Mapping[str, Any]] | None = None
    api_version: int = field(default=API_VERSION)
