"""The header Content-Disposition (RFC 6266), with names in any script."""

import re
from typing import Literal
from urllib.parse import quote

type Disposition = Literal["attachment", "inline"]

_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f/\\\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_ATTR_CHARS = "!#$&+-.^_`|~"  # attr-char of RFC 8187 beside letters and digits
_MAX_NAME_CHARS = 255


def content_disposition(disposition: Disposition, filename: str | None) -> str:
    """The value of the header.

    Args:
        disposition: `"attachment"` (the browser saves it) or `"inline"` (it may show it).
        filename: The name to save it under; None or empty for none. Control characters,
            slashes, and marks that turn the direction of text are replaced, so that it can
            neither end the header nor hide its extension.

    Returns:
        Printable ASCII. A name that is not, or has a quote or a percent sign, is given twice:
        replaced for old clients, and encoded as `filename*` (RFC 8187).
    """
    if not filename:
        return disposition
    name = _UNSAFE.sub("_", filename.encode("utf-8", "replace").decode())
    if len(name) > _MAX_NAME_CHARS:
        stem, dot, extension = name.rpartition(".")
        tail = dot + extension if stem and len(extension) <= 16 else ""
        name = name[: _MAX_NAME_CHARS - len(tail)] + tail
    plain = "".join(c if " " <= c <= "~" and c not in '"%' else "_" for c in name)
    value = f'{disposition}; filename="{plain}"'
    return value if plain == name else f"{value}; filename*=UTF-8''{quote(name, _ATTR_CHARS)}"
