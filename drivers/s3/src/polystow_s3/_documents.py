"""What the body of an answer is, before it is parsed: pure."""

import re

# Atomic: a prolog of many comments must not cost more than its length.
_DTD = re.compile(
    rb"(?:\xef\xbb\xbf)?(?>\s+|<\?.*?\?>|<!--.*?-->)*+<!DOCTYPE", re.DOTALL | re.IGNORECASE
)
_HTML = re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:!DOCTYPE\s+)?html\b", re.IGNORECASE)


def document_type(body: bytes) -> str | None:
    """What a body with a document type is, in words; None for one without.

    S3 sends none, HTML pages have one, and entities can make a small answer large. One can stand
    in the prolog alone (XML 1.0, section 2.8), and in no other spelling, since answers are parsed
    as UTF-8.
    """
    if _DTD.match(body) is None:
        return None
    return "an HTML page" if _HTML.match(body) else "XML with a DTD"
