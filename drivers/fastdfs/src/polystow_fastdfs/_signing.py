"""Signed URLs as the capability `presign`; the driver has it where a secret is configured."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Self

from polystow import PresignOptions, Secret, UnsupportedOperationError
from polystow_fastdfs._antileech import attachment_of, file_url, timestamp_for
from polystow_fastdfs._config import FastdfsConfig
from polystow_fastdfs._file_id import FileId
from polystow_fastdfs._operations import Operation, Operations


class UrlSigner:
    """Signs URLs of the nginx module; asks no server.

    Args:
        config: Base URLs, and the servers' `token_ttl`.
        secret: What the servers check tokens with.
        operations: Of the driver.
        clock: Gives the Unix time in seconds.
    """

    def __init__(
        self,
        config: FastdfsConfig,
        secret: Secret,
        operations: Operations,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._config = config
        self._secret = secret
        self._operations = operations
        self._clock = clock

    @classmethod
    def of(cls, config: FastdfsConfig, operations: Operations) -> Self | None:
        """What a driver of this configuration signs with, if it can."""
        if not config.base_urls or config.anti_leech_secret is None:
            return None
        return cls(config, config.anti_leech_secret, operations)

    async def presign(self, path: str, options: PresignOptions, /) -> str:
        """A URL that works until it expires.

        Of `options.response` only `content_disposition` with an attachment's name can be asked
        for.

        Raises:
            InvalidPathError: The path is no FastDFS id, or the attachment's name can't be used.
            UnsupportedOperationError: The method is not GET or HEAD, the group has no base URL,
                another header is asked for, or it can't expire so late.
        """
        with Operation(self._operations, "presign", path):
            file = FileId.parse(path)
            if options.method not in ("GET", "HEAD"):
                message = f"a FastDFS URL allows GET and HEAD, not {options.method}"
                raise UnsupportedOperationError(message)
            expires_s = float(self._config.presign_expires_s)
            if options.expires is not None:
                expires_s = options.expires.total_seconds()
            return file_url(
                self._config.base_urls,
                file,
                attachment=attachment_of(options.response),
                secret=self._secret,
                timestamp=timestamp_for(self._clock(), expires_s, self._config.token_ttl_s),
            )
