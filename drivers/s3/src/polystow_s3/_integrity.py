"""Which digests go with a body: what the configuration says, and what the caller has already.

User Guide, "Checking object integrity". A request carries one checksum of S3's at most, and
Content-MD5, which every server knows, beside it.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from typing import Any

from attrs import frozen

from polystow import Checksum, ChecksumMismatchError, UnsupportedOperationError, Value
from polystow_s3._client import Call, Client
from polystow_s3._digests import ALGORITHMS, base64_of

_logger = logging.getLogger("polystow.s3")


@frozen(slots=False, eq=False, repr=False)
class Integrity(Value):
    """The digests of one write.

    Attributes:
        sent: The algorithm whose digest goes with each body; None for none.
        given: What the caller says that the content has.
        made: The algorithms whose digests are made of each body.
    """

    sent: str | None
    given: Checksum | None
    made: frozenset[str]

    @property
    def combined(self) -> str | None:
        """The algorithm by which the service verifies a whole object that is sent in parts."""
        sent = self.sent
        return sent if sent is not None and ALGORITHMS[sent].is_crc else None

    def check(self, values: Mapping[str, bytes]) -> None:
        """Compare the content with what the caller says.

        Raises:
            ChecksumMismatchError: It is something else.
        """
        if self.given is None:
            return
        made = values[self.given.algorithm].hex()
        if made != self.given.value.lower():
            raise ChecksumMismatchError(
                f"the content has the {self.given.algorithm} {made}, and was said to have "
                f"{self.given.value}; nothing was stored"
            )

    def checksum(self, values: Mapping[str, bytes]) -> Checksum | None:
        """What the object shows: the digest that the service keeps too, else what there is."""
        sent = self.sent
        if sent is not None and sent in values:
            return Checksum(sent, values[sent].hex())
        for name in ("crc32", *values):
            if name in values:
                return Checksum(name, values[name].hex())
        return None


def integrity_of(client: Client, given: Checksum | None, *, whole: bool) -> Integrity:
    """The digests that a write needs.

    Args:
        client: Has the configuration, and has learned what the service takes.
        given: See `Integrity`.
        whole: Whether the body is sent in one piece.

    Raises:
        UnsupportedOperationError: A digest like the caller's can't be made here.
    """
    config = client.config
    if given is None:
        return _without_given(
            config.checksums, config.checksum_algorithm, refused=client.refuses_checksums
        )
    algorithm = ALGORITHMS.get(given.algorithm)
    if algorithm is None or not algorithm.available:
        raise UnsupportedOperationError(
            f"a checksum {given.algorithm!r} can't be verified; give one of "
            f"{', '.join(available_algorithms())}"
        )
    sent: str | None = config.checksum_algorithm if config.checksums == "when_supported" else None
    made = set[str]() if config.checksums == "off" else {"crc32"}
    if whole or algorithm.is_crc:
        sent = given.algorithm
        made.add(given.algorithm)
    return _integrity(sent, given, made, refused=client.refuses_checksums)


@lru_cache(16)
def _without_given(checksums: str, algorithm: str, *, refused: bool) -> Integrity:
    if checksums == "off":
        return Integrity(None, None, frozenset())
    sent = algorithm if checksums == "when_supported" else None
    return _integrity(sent, None, {"crc32"}, refused=refused)


def _integrity(
    sent: str | None, given: Checksum | None, made: set[str], *, refused: bool
) -> Integrity:
    if refused and sent != "md5":
        sent = None
    if sent is not None:
        made.add(sent)
    return Integrity(sent, given, frozenset(made))


def available_algorithms() -> tuple[str, ...]:
    """What can be made here, with awscrt or without."""
    return tuple(name for name, algorithm in ALGORITHMS.items() if algorithm.available)


def digest_params(sent: str | None, values: Mapping[str, bytes]) -> dict[str, object]:
    """The parameter that carries a body's digest."""
    return {} if sent is None else {ALGORITHMS[sent].parameter: base64_of(values[sent])}


async def send_checked[T](
    client: Client,
    send: Callable[[Mapping[str, object]], Awaitable[T]],
    checksums: Mapping[str, object],
) -> T:
    """Send a request with checksums, and without them where the service knows none.

    Some S3-compatible servers refuse the headers (Backblaze, Cloudflare R2). That is learned,
    for as long as the client is open, and only from a request that succeeds without them, so that
    a service that verifies goes on to do so.

    Args:
        client: Remembers it.
        send: Sends the request with these parameters beside its own.
        checksums: The parameters.
    """
    if not checksums:
        return await send({})
    try:
        return await send(checksums)
    except UnsupportedOperationError:
        if "ContentMD5" in checksums:
            raise
        answer = await send({})
    if not client.refuses_checksums:
        client.refuses_checksums = True
        _logger.warning(
            "s3: %s refuses checksums, so bodies are sent without them; set "
            "checksum_algorithm to 'md5', or checksums to 'when_required'",
            client.config.endpoint or "AWS",
        )
    return answer


def call_checked(
    client: Client, call: Call, checksums: Mapping[str, object]
) -> Awaitable[Mapping[str, Any]]:
    """`send_checked` of a call."""
    if not checksums:
        return client.call(call)
    return send_checked(
        client,
        lambda extra: client.call(
            Call(call.method, {**call.params, **extra}, call.subject, call.payload, call.slow)
        ),
        checksums,
    )
