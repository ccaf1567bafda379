"""The fast lane: the hot operations of S3, without botocore's machinery around them.

It gives what aiobotocore gives, field by field, and leaves to aiobotocore what is rare: calls
with parameters that it does not know, and answers that send the client elsewhere.
"""

import time
from collections.abc import Callable
from typing import Any

from polystow_s3._lane._answer import Answer
from polystow_s3._lane._faults import LaneError
from polystow_s3._lane._parsing import (
    MAX_XML_BYTES,
    document_of,
    fault_of,
    fields_of,
    is_error,
    page_of,
)
from polystow_s3._lane._pool import Pool
from polystow_s3._lane._requests import Draft, Place, head_of
from polystow_s3._lane._signer import Clock, Signer

_MAX_ERROR_BYTES = 1_048_576
_ELSEWHERE_CODES = frozenset(
    {"AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "PermanentRedirect"}
)


class ElsewhereError(Exception):
    """The answer is one that aiobotocore knows how to follow: another region or endpoint."""


class Lane:
    """Sends drafts to their places.

    Args:
        pool: The connections.
        agent: The header User-Agent.
        signs_body: Whether signatures cover bodies.
        now: The Unix time that requests are signed with.
    """

    def __init__(
        self,
        pool: Pool,
        agent: str,
        *,
        signs_body: bool,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._pool = pool
        self._agent = agent
        self._signs_body = signs_body
        self._clock = Clock(now)

    async def send(self, draft: Draft, place: Place, signer: Signer | None) -> dict[str, Any]:
        """Send a request once, signed if there is a signer.

        Args:
            draft: The request.
            place: Where it goes.
            signer: What signs it.

        Returns:
            What botocore makes of its answer.

        Raises:
            ElsewhereError: aiobotocore has to repeat it. The service did nothing.
            LaneError: It went wrong; the fault says how.
        """
        stamp = self._clock.now()
        head = head_of(draft, place, signer, stamp, self._agent, signs_body=self._signs_body)
        operation = draft.operation
        answer = await self._pool.send(place.origin, operation.method, head, draft.body)
        status = answer.status
        if not 200 <= status < 300:
            raise await _refusal(answer)
        try:
            parsed = fields_of(operation, status, answer.headers)
            kind = operation.answer
            if kind == "stream":
                parsed["Body"] = answer
            elif kind == "head":
                body = answer.body
                if body is None or body:
                    body = await answer.read_all(MAX_XML_BYTES)
                    if is_error(body):
                        raise LaneError(fault_of(500, answer.headers, body))
            elif kind == "page":
                parsed.update(page_of(await answer.read_all(MAX_XML_BYTES)))
            else:
                body = await answer.read_all(MAX_XML_BYTES)
                parsed.update(document_of(body, operation.document))
        except BaseException:
            answer.close()
            raise
        return parsed

    async def aclose(self) -> None:
        """Close all connections."""
        await self._pool.aclose()


async def _refusal(answer: Answer) -> Exception:
    try:
        body = await answer.read_all(_MAX_ERROR_BYTES)
    except BaseException:
        answer.close()
        raise
    fault = fault_of(answer.status, answer.headers, body)
    moved = 300 <= answer.status < 400 and answer.status != 304
    told = answer.status == 400 and "x-amz-bucket-region" in answer.headers
    if moved or told or fault.code in _ELSEWHERE_CODES or answer.status == 417:
        return ElsewhereError()
    return LaneError(fault)
