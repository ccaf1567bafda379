"""What a file is by its first bytes: a short table of what people upload and what they must not.

The signatures are those of the formats' own specifications and of the WHATWG MIME Sniffing
standard. The libraries for this are either not maintained or ten times as long as all that a
storage needs to know.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

from polystow._arguments import guess_content_type
from polystow._uris import extension_of

SNIFFED_BYTES = 1024
"""How many of a file's first bytes are looked at; each signature below ends before that."""


class Signature(NamedTuple):
    """How a format begins.

    Attributes:
        content_type: Its media type.
        extensions: What its files are called, in lower case.
        parts: Offsets, with what stands there: one of several.
        within: What stands anywhere in the first 64 bytes.
    """

    content_type: str
    extensions: frozenset[str]
    parts: tuple[tuple[int, tuple[bytes, ...]], ...]
    within: bytes

    def matches(self, head: bytes) -> bool:
        """Whether a file that begins like this is one."""
        for offset, choices in self.parts:
            if not head.startswith(choices, offset):
                return False
        return self.within in head[:64]


def _known(
    content_type: str,
    extensions: str,
    *choices: bytes,
    then: tuple[int, tuple[bytes, ...]] | None = None,
    within: bytes = b"",
) -> Signature:
    first = (0, choices)
    parts = (first,) if then is None else (first, then)
    return Signature(content_type, frozenset(extensions.split()), parts, within)


def _at(offset: int, *choices: bytes) -> tuple[int, tuple[bytes, ...]]:
    return offset, choices


_OLE = "doc xls ppt msi msg vsd pub mpp"
_ZIPPED = (
    "zip docx xlsx pptx docm xlsm pptm dotx xltx potx ppsx odt ods odp odg ott jar war apk aab ipa "
    "epub whl egg xpi crx kmz cbz vsdx nupkg 3mf usdz pages numbers key sketch"
)
_ODF = b"mimetypeapplication/vnd.oasis.opendocument"
_SIGNATURES = (
    _known("image/png", "png apng", b"\x89PNG\r\n\x1a\n"),
    _known("image/jpeg", "jpg jpeg jpe jfif", b"\xff\xd8\xff"),
    _known("image/gif", "gif", b"GIF87a", b"GIF89a"),
    _known("image/webp", "webp", b"RIFF", then=_at(8, b"WEBP")),
    _known("image/bmp", "bmp dib", b"BM", then=_at(6, b"\0\0\0\0")),
    _known("image/tiff", "tif tiff dng nef cr2 arw", b"II*\0", b"II+\0", b"MM\0*", b"MM\0+"),
    _known("image/x-icon", "ico", b"\0\0\1\0", then=_at(5, b"\0")),
    _known("image/avif", "avif avifs", b"\0", then=_at(4, b"ftypavif", b"ftypavis")),
    _known(
        "image/heic",
        "heic heif",
        b"\0",
        then=_at(4, b"ftyphei", b"ftyphev", b"ftypmif1", b"ftypmsf1"),
    ),
    _known("image/vnd.adobe.photoshop", "psd psb", b"8BPS\0\1", b"8BPS\0\2"),
    _known("video/quicktime", "mov qt", b"\0", then=_at(4, b"ftypqt  ", b"moov", b"wide", b"mdat")),
    _known("audio/mp4", "m4a m4b", b"\0", then=_at(4, b"ftypM4A ", b"ftypM4B ")),
    _known("video/mp4", "mp4 m4v m4a 3gp 3g2 mov f4v", b"\0", then=_at(4, b"ftyp")),
    _known("video/webm", "webm", b"\x1aE\xdf\xa3", within=b"webm"),
    _known("video/x-matroska", "mkv mka webm", b"\x1aE\xdf\xa3"),
    _known("video/x-msvideo", "avi", b"RIFF", then=_at(8, b"AVI ")),
    _known("video/mpeg", "mpg mpeg", b"\0\0\1\xb3", b"\0\0\1\xba"),
    _known("audio/x-wav", "wav wave", b"RIFF", then=_at(8, b"WAVE")),
    _known(
        "audio/mpeg",
        "mp3 mp2",
        *(b"ID3\2", b"ID3\3", b"ID3\4", b"\xff\xfb", b"\xff\xfa", b"\xff\xf3", b"\xff\xf2"),
    ),
    _known("audio/ogg", "ogg oga ogv opus spx", b"OggS\0"),
    _known("audio/flac", "flac", b"fLaC"),
    _known("audio/midi", "mid midi", b"MThd\0\0\0\6"),
    _known("audio/x-aiff", "aif aiff aifc", b"FORM", then=_at(8, b"AIFF", b"AIFC")),
    _known("application/pdf", "pdf ai", b"%PDF-"),
    _known("application/postscript", "ps eps ai", b"%!PS-Adobe"),
    _known("application/rtf", "rtf doc", b"{\\rtf"),
    _known("application/x-ole-storage", _OLE, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
    _known("application/epub+zip", "epub", b"PK\3\4", then=_at(30, b"mimetypeapplication/epub")),
    _known(
        "application/vnd.oasis.opendocument",
        "odt ods odp odg odf",
        b"PK\3\4",
        then=_at(30, _ODF),
    ),
    _known("application/zip", _ZIPPED, b"PK\3\4", b"PK\5\6", b"PK\7\x08"),
    _known("application/gzip", "gz tgz tar.gz svgz", b"\x1f\x8b\x08"),
    _known("application/x-bzip2", "bz2 tbz2 tar.bz2", b"BZh", then=_at(4, b"1AY&SY", b"\x17rE8P")),
    _known("application/x-xz", "xz txz tar.xz", b"\xfd7zXZ\0"),
    _known("application/zstd", "zst tar.zst", b"\x28\xb5\x2f\xfd"),
    _known("application/x-7z-compressed", "7z", b"7z\xbc\xaf\x27\x1c"),
    _known("application/vnd.rar", "rar cbr", b"Rar!\x1a\7\0", b"Rar!\x1a\7\1"),
    _known("application/x-tar", "tar", b"", then=_at(257, b"ustar\0", b"ustar ")),
    _known("application/vnd.sqlite3", "sqlite sqlite3 db db3", b"SQLite format 3\0"),
    _known("application/vnd.apache.parquet", "parquet", b"PAR1"),
    _known("application/wasm", "wasm", b"\0asm"),
    _known("application/x-executable", "elf so o ko axf", b"\x7fELF"),
    _known(
        "application/vnd.microsoft.portable-executable",
        "exe dll sys scr ocx cpl com efi",
        b"MZ",
        within=b"\0",
    ),
    _known(
        "application/x-mach-binary",
        "dylib bundle o",
        *(b"\xfe\xed\xfa\xce", b"\xfe\xed\xfa\xcf", b"\xce\xfa\xed\xfe", b"\xcf\xfa\xed\xfe"),
    ),
    _known("application/java-vm", "class", b"\xca\xfe\xba\xbe\0"),
    _known("font/woff", "woff", b"wOFF"),
    _known("font/woff2", "woff2", b"wOF2"),
    _known("font/otf", "otf", b"OTTO\0"),
    _known("font/ttf", "ttf", b"\0\1\0\0\0"),
)
_BY_EXTENSION: Mapping[str, frozenset[str]] = {
    extension: frozenset(
        other.content_type for other in _SIGNATURES if extension in other.extensions
    )
    for signature in _SIGNATURES
    for extension in signature.extensions
}

_SPACE = rb"(?:\xef\xbb\xbf)?[\t\n\x0c\r ]*"
# Atomic, so that a thousand comments are not tried in every combination.
_COMMENTS = rb"(?>(?:<!--.*?-->[\t\n\x0c\r ]*)*)"
_HTML = (
    _SPACE + _COMMENTS + rb"<(?:!doctype\s+html|(?:html|head|script|iframe|body|table|style|title|"
    rb"div|p|br|h1|font|a|b|img|form|meta|link)[\s>/])"
)
_SVG = (
    _SPACE
    + rb"(?:<\?xml[^>]*>\s*)?"
    + _COMMENTS
    + rb"(?:<!doctype\s+svg[^>]*>\s*)?"
    + _COMMENTS
    + rb"<svg[\s>/]"
)
_XML = _SPACE + rb"<\?xml[\s?]"
_SCRIPT = rb"#![ \t]*/"
_UTF16 = re.compile(rb"\xff\xfe|\xfe\xff")
_BINARY = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")  # WHATWG MIME Sniffing, section 3
_TEXT_KINDS = frozenset(
    {"image/svg+xml", "text/html", "text/plain", "text/x-shellscript", "text/xml"}
)
_TEXTS = (
    "txt text log csv tsv md markdown rst json jsonl ndjson geojson xml html htm xhtml svg css js "
    "mjs ts py sh sql yaml yml toml ini cfg conf srt vtt ics vcf tex c h cpp java go rs rb"
)
_TEXT_EXTENSIONS = frozenset(_TEXTS.split())


def sniff(head: bytes) -> str | None:
    """What a file is by its first bytes.

    Args:
        head: The first `SNIFFED_BYTES` of it, or all if it has fewer.

    Returns:
        A media type; `text/plain` for what has no control characters; None for anything else, and
        for nothing at all.
    """
    for signature in _SIGNATURES:
        if signature.matches(head):
            return signature.content_type
    if not head or (_BINARY.search(head) and not _UTF16.match(head)):
        return None
    for kind, pattern in (
        ("image/svg+xml", _SVG),
        ("text/html", _HTML),
        ("text/xml", _XML),
        ("text/x-shellscript", _SCRIPT),
    ):
        # Compiled when a text comes along, which takes milliseconds.
        if re.match(pattern, head, re.DOTALL | re.IGNORECASE):
            return kind
    return "text/plain"


def sniff_content_type(head: bytes) -> str | None:
    """The media type to keep with a file whose name tells none.

    What a browser would run (HTML, SVG, XML) is `text/plain`: a name without an extension must
    not be a way to publish a page.
    """
    kind = sniff(head)
    return "text/plain" if kind in _TEXT_KINDS else kind


def contradiction(filename: str, head: bytes) -> str | None:
    """What a file is instead of what its name says, for a message; None if it may be that.

    Extensions that mean nothing to anybody are not judged.

    Args:
        filename: Its name.
        head: As in `sniff`.
    """
    extension = extension_of(filename).lower()
    last = extension.rpartition(".")[2]
    kind = sniff(head)
    wanted = _BY_EXTENSION.get(extension) or _BY_EXTENSION.get(last)
    if wanted is not None:
        agrees = kind in wanted
    elif last in _TEXT_EXTENSIONS:
        agrees = kind in _TEXT_KINDS or not head
    else:
        means = guess_content_type(filename)
        known = means is not None and means != "application/octet-stream"
        agrees = not known or kind is None or kind in _TEXT_KINDS
    if agrees:
        return None
    return kind or ("unknown data" if head else "empty")
