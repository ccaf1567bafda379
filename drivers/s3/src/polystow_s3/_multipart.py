"""Writing in parts: a few of them in flight, in bounded memory.

One task reads the body into buffers, others send them.
"""

from functools import partial

import anyio
from anyio import CancelScope
from attrs import evolve

from polystow import FileTooLargeError, ObjectInfo
from polystow_s3._answers import required
from polystow_s3._client import Call, Client
from polystow_s3._digests import ALGORITHMS, digest, digest_file
from polystow_s3._headers import part_params
from polystow_s3._integrity import call_checked, digest_params, integrity_of
from polystow_s3._lane._sending import FileRange, size_of
from polystow_s3._part_sources import DigestedParts, Part, Parts
from polystow_s3._parts import MAX_PARTS, PartPlan
from polystow_s3._payload import FilePayload, Payload, body_for
from polystow_s3._plan import Plan
from polystow_s3._upload import Sent, Upload, run


async def write_multipart(client: Client, plan: Plan, sizes: PartPlan, parts: Parts) -> ObjectInfo:
    """Write an object in parts.

    Args:
        client: What sends the requests.
        plan: What to write.
        sizes: How large the parts are.
        parts: The content.

    Raises:
        StorageError: It failed; nothing is left on the service, or what may be is logged.
    """
    upload = Upload(plan, integrity_of(client, plan.options.checksum, whole=False))
    given = upload.integrity.given
    if given is not None and not ALGORITHMS[given.algorithm].is_crc:
        parts = DigestedParts(parts, given.algorithm)
        upload.whole = parts.digest
    return await run(client, upload, partial(_send_all, client, upload, sizes, parts))


class _Sender:
    """The tasks that send parts, and what they tell the one that reads them."""

    def __init__(self, client: Client, upload: Upload, parts: Parts) -> None:
        self.scope: CancelScope | None = None
        self.failure: Exception | None = None
        self.in_flight = 0
        self._client = client
        self._upload = upload
        self._parts = parts
        self._landed = anyio.Event()

    def fail(self, error: Exception) -> None:
        if self.failure is None:
            self.failure = error
        if self.scope is not None:
            self.scope.cancel()

    async def wait_for_turn(self, limit: int) -> None:
        while self.in_flight >= limit:
            self._landed = anyio.Event()
            await self._landed.wait()

    async def send(self, number: int, part: Part) -> None:
        try:
            sent = await send_part(self._client, self._upload, number, part)
        except Exception as error:  # noqa: BLE001 - raised when all tasks have ended
            self.fail(error)
        else:
            self._upload.sent.append(sent)
            self._upload.unsettled -= 1
            self._parts.release(part)
        finally:
            self.in_flight -= 1
            self._landed.set()


async def _send_all(client: Client, upload: Upload, sizes: PartPlan, parts: Parts) -> None:
    sender = _Sender(client, upload, parts)
    async with anyio.create_task_group() as tasks:
        sender.scope = tasks.cancel_scope
        try:
            number = 1
            while True:
                part = await parts.take(sizes.size_of(number))
                if part is None:
                    break
                if number > MAX_PARTS:
                    raise FileTooLargeError(
                        f"the body needs more than {MAX_PARTS:,} parts; set part_size_bytes higher"
                    )
                # One part is read ahead while the others are sent.
                await sender.wait_for_turn(
                    sizes.in_flight(number, client.config.upload_concurrency)
                )
                sender.in_flight += 1
                upload.unsettled += 1
                tasks.start_soon(sender.send, number, part)
                number += 1
        except Exception as error:  # noqa: BLE001 - else it would leave in an ExceptionGroup
            sender.fail(error)
    if sender.failure is not None:
        raise sender.failure
    upload.sent.sort(key=lambda sent: sent.number)


async def send_part(client: Client, upload: Upload, number: int, part: Part) -> Sent:
    """Send a part (API reference, UploadPart)."""
    subject, integrity = upload.plan.subject, upload.integrity
    size = size_of(part)
    params: dict[str, object] = {**upload.params, "PartNumber": number}
    params |= part_params(upload.plan.options.extra_headers)
    params["ContentLength"] = size
    payload: Payload | None
    if isinstance(part, FileRange):
        digests = await digest_file(part, integrity.made, signed=client.config.signs_payload)
        params["Body"] = payload = FilePayload(part, digests.sha256)
    else:
        digests = await digest(part, integrity.made, signed=client.config.signs_payload)
        payload = body_for(part, digests.sha256, params, repeatable=True)
    # A part that is sent twice replaces itself, whatever the write's conditions are.
    call = Call("upload_part", params, evolve(subject, idempotent=True), payload)
    checksums = digest_params(integrity.sent, digests.values)
    answer = await call_checked(client, call, checksums)
    kept = any(name in answer for name in checksums)
    return Sent(number, size, digests.values, required(answer, "ETag"), kept)
