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
        pattern: Matches at the first byte.
    """

    content_type: str
    extensions: frozenset[str]
    pattern: re.Pattern[bytes]


def _signature(content_type: str, extensions: str, pattern: bytes) -> Signature:
    return Signature(content_type, frozenset(extensions.split()), re.compile(pattern, re.DOTALL))


_OLE = "doc xls ppt msi msg vsd pub mpp"
_ZIPPED = (
    "zip docx xlsx pptx docm xlsm pptm dotx xltx potx ppsx odt ods odp odg ott jar war apk aab ipa "
    "epub whl egg xpi crx kmz cbz vsdx nupkg 3mf usdz pages numbers key sketch"
)
_SIGNATURES = (
    _signature("image/png", "png apng", rb"\x89PNG\r\n\x1a\n"),
    _signature("image/jpeg", "jpg jpeg jpe jfif", rb"\xff\xd8\xff"),
    _signature("image/gif", "gif", rb"GIF8[79]a"),
    _signature("image/webp", "webp", rb"RIFF....WEBP"),
    _signature("image/bmp", "bmp dib", rb"BM.{4}\0{4}.{4}[\x0c\x28\x34\x38\x40\x6c\x7c]\0{3}"),
    _signature("image/tiff", "tif tiff dng nef cr2 arw", rb"II\*\0|MM\0[*+]|II\+\0"),
    _signature("image/x-icon", "ico", rb"\0\0\x01\0[^\0]\0"),
    _signature("image/avif", "avif avifs", rb"\0.{3}ftypavi[fs]"),
    _signature("image/heic", "heic heif", rb"\0.{3}ftyp(hei[cxms]|hev[cxms]|mif1|msf1)"),
    _signature("image/vnd.adobe.photoshop", "psd psb", rb"8BPS\0[\x01\x02]"),
    _signature("video/quicktime", "mov qt", rb"\0.{3}(ftypqt  |moov|wide|mdat)"),
    _signature("audio/mp4", "m4a m4b", rb"\0.{3}ftypM4[AB] "),
    _signature("video/mp4", "mp4 m4v m4a 3gp 3g2 mov f4v", rb"\0.{3}ftyp"),
    _signature("video/webm", "webm", rb"\x1aE\xdf\xa3.{0,40}\x42\x82.webm"),
    _signature("video/x-matroska", "mkv mka webm", rb"\x1aE\xdf\xa3"),
    _signature("video/x-msvideo", "avi", rb"RIFF....AVI "),
    _signature("video/mpeg", "mpg mpeg", rb"\0\0\x01[\xb3\xba]"),
    _signature("audio/x-wav", "wav wave", rb"RIFF....WAVE"),
    _signature("audio/mpeg", "mp3 mp2", rb"ID3[\x02-\x04]|\xff[\xf2-\xf7\xfa-\xfd]"),
    _signature("audio/ogg", "ogg oga ogv opus spx", rb"OggS\0"),
    _signature("audio/flac", "flac", rb"fLaC"),
    _signature("audio/midi", "mid midi", rb"MThd\0\0\0\x06"),
    _signature("audio/x-aiff", "aif aiff aifc", rb"FORM....AIF[FC]"),
    _signature("application/pdf", "pdf ai", rb"%PDF-"),
    _signature("application/postscript", "ps eps ai", rb"%!PS-Adobe"),
    _signature("application/rtf", "rtf doc", rb"\{\\rtf"),
    _signature("application/x-ole-storage", _OLE, rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
    _signature("application/epub+zip", "epub", rb"PK\x03\x04.{26}mimetypeapplication/epub"),
    _signature(
        "application/vnd.oasis.opendocument",
        "odt ods odp odg odf",
        rb"PK\x03\x04.{26}mimetypeapplication/vnd\.oasis\.opendocument",
    ),
    _signature("application/zip", _ZIPPED, rb"PK(\x03\x04|\x05\x06|\x07\x08)"),
    _signature("application/gzip", "gz tgz tar.gz svgz", rb"\x1f\x8b\x08"),
    _signature("application/x-bzip2", "bz2 tbz2 tar.bz2", rb"BZh[1-9](1AY&SY|\x17rE8P\x90)"),
    _signature("application/x-xz", "xz txz tar.xz", rb"\xfd7zXZ\0"),
    _signature("application/zstd", "zst tar.zst", rb"\x28\xb5\x2f\xfd"),
    _signature("application/x-7z-compressed", "7z", rb"7z\xbc\xaf\x27\x1c"),
    _signature("application/vnd.rar", "rar cbr", rb"Rar!\x1a\x07[\0\x01]"),
    _signature("application/x-tar", "tar", rb".{257}ustar[\0 ]"),
    _signature("application/vnd.sqlite3", "sqlite sqlite3 db db3", rb"SQLite format 3\0"),
    _signature("application/vnd.apache.parquet", "parquet", rb"PAR1"),
    _signature("application/wasm", "wasm", rb"\0asm"),
    _signature("application/x-executable", "elf so o ko axf", rb"\x7fELF"),
    _signature(
        "application/vnd.microsoft.portable-executable",
        "exe dll sys scr ocx cpl com efi",
        rb"MZ(?=.{0,62}\0)",
    ),
    _signature("application/x-mach-binary", "dylib bundle o", rb"\xfe\xed\xfa[\xce\xcf]"),
    _signature("application/x-mach-binary", "dylib bundle o", rb"[\xce\xcf]\xfa\xed\xfe"),
    _signature("application/java-vm", "class", rb"\xca\xfe\xba\xbe\0"),
    _signature("font/woff", "woff", rb"wOFF"),
    _signature("font/woff2", "woff2", rb"wOF2"),
    _signature("font/otf", "otf", rb"OTTO\0"),
    _signature("font/ttf", "ttf", rb"\0\x01\0\0\0[^\0]"),
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
_HTML = re.compile(
    _SPACE + _COMMENTS + rb"<(?:!doctype\s+html|(?:html|head|script|iframe|body|table|style|title|"
    rb"div|p|br|h1|font|a|b|img|form|meta|link)[\s>/])",
    re.DOTALL | re.IGNORECASE,
)
_SVG = re.compile(
    _SPACE
    + rb"(?:<\?xml[^>]*>\s*)?"
    + _COMMENTS
    + rb"(?:<!doctype\s+svg[^>]*>\s*)?"
    + _COMMENTS
    + rb"<svg[\s>/]",
    re.DOTALL | re.IGNORECASE,
)
_XML = re.compile(_SPACE + rb"<\?xml[\s?]", re.IGNORECASE)
_SCRIPT = re.compile(rb"#![ \t]*/")
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
        if signature.pattern.match(head):
            return signature.content_type
    if not head or (_BINARY.search(head) and not _UTF16.match(head)):
        return None
    for kind, pattern in (
        ("image/svg+xml", _SVG),
        ("text/html", _HTML),
        ("text/xml", _XML),
        ("text/x-shellscript", _SCRIPT),
    ):
        if pattern.match(head):
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
