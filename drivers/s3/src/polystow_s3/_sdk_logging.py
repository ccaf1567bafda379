"""botocore logs requests and answers at the level DEBUG; here tokens and secrets are taken out."""

import logging
import re
from typing import override

_LOGGERS = (
    "botocore.auth",
    "botocore.credentials",
    "botocore.endpoint",
    "botocore.hooks",
    "botocore.httpsession",
    "botocore.parsers",
    "botocore.utils",
)
_NAMES = r"x-amz-security-token|secret_?access_?key|session_?token|access_?token|token"
_SECRET = re.compile(
    rf"""(\b(?:{_NAMES})["']?\s*(?:[:=>]|%3D)\s*b?["']?)([^\s"'&<,}}]+)""", re.IGNORECASE
)


class _Redacting(logging.Filter):
    @override
    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        redacted = _SECRET.sub(r"\1***", message)
        if redacted != message:
            record.msg, record.args = redacted, ()
        return True


def redact_logs() -> None:
    """Take tokens and secrets out of what botocore logs, from now on, in the whole process."""
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        if not any(isinstance(each, _Redacting) for each in logger.filters):
            logger.addFilter(_Redacting())
