"""Requests of the gateway's API, as values."""

from collections.abc import Mapping

from attrs import field, frozen

from polystow import Body

type Query = Mapping[str, str | int | bool | None]


@frozen
class Call:
    """A request of the gateway's API.

    Attributes:
        operation: The driver's method, for errors.
        path: What it is about, as the driver was given it.
        method: The HTTP method.
        url: The path below the gateway's address.
        query: The parameters; those that are None are left out.
        json: The body, as a value of the wire.
        body: The body, as content.
        options: Goes into a header, for requests whose body is content.
        content_type: The body's.
        if_match: The entity tag of what may be changed.
        own_ids: Whether ids in errors stay as the gateway has them.
        idempotent: Whether it may be sent again when it is not known what the first one did.
    """

    operation: str
    path: str
    method: str
    url: str
    query: Query = field(factory=dict[str, str | int | bool | None])
    json: object = None
    body: Body | None = None
    options: object = None
    content_type: str | None = None
    if_match: str | None = None
    own_ids: bool = False
    idempotent: bool = True
