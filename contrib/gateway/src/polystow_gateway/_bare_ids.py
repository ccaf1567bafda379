"""Ids without a scheme, of a FastDFS cluster behind the gateway."""

import re

# Protocol: group, store path, two levels of directories, and a name of 27 characters and more.
_FASTDFS_ID = re.compile(
    r"(?!.*\.\.)[A-Za-z0-9_-]{1,16}/M[0-9A-F]{2}/[0-9A-F]{2}/[0-9A-F]{2}/"
    r"[A-Za-z0-9_-]{27}[\x21-\x2e\x30-\x7e]{1,90}",
    re.ASCII,
)


class FastdfsIds:
    """Recognises them, without the driver being installed here."""

    def owns_bare_id(self, path: str, /) -> bool:
        """Whether `path` has the form of a FastDFS id."""
        return _FASTDFS_ID.fullmatch(path) is not None
