"""Which contents are compressed already, so that deflating them again only takes time."""

_MEDIA = ("image/", "audio/", "video/", "font/woff")
_PLAIN_MEDIA = frozenset(
    f"{media}/{kind}"
    for media, kinds in {
        "image": ("svg+xml", "bmp", "x-ms-bmp", "tiff", "x-icon", "vnd.microsoft.icon", "x-tga",
                  "x-portable-pixmap", "x-portable-graymap", "x-portable-bitmap", "x-xbitmap",
                  "x-xpixmap", "vnd.adobe.photoshop", "x-cmu-raster", "x-rgb"),
        "audio": ("wav", "x-wav", "vnd.wave", "wave", "x-aiff", "aiff", "basic", "midi", "x-midi",
                  "L16", "l24"),
    }.items()
    for kind in kinds
)  # fmt: skip
_TYPES = frozenset(
    f"application/{kind}"
    for kind in (
        "zip", "x-zip-compressed", "gzip", "x-gzip", "x-bzip2", "x-xz", "x-lzma", "zstd",
        "x-7z-compressed", "vnd.rar", "x-rar-compressed", "x-compress", "x-brotli",
        "epub+zip", "java-archive", "vnd.android.package-archive", "ogg", "mp4",
        "vnd.openxmlformats-officedocument.wordprocessingml.document",
        "vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "vnd.openxmlformats-officedocument.presentationml.presentation",
        "vnd.oasis.opendocument.text", "vnd.oasis.opendocument.spreadsheet",
        "vnd.oasis.opendocument.presentation",
    )
)  # fmt: skip
_EXTENSIONS = frozenset(
    {
        "7z", "aac", "apk", "avi", "avif", "br", "bz2", "docx", "epub", "flac", "gif", "gz", "heic",
        "heif", "jar", "jp2", "jpeg", "jpg", "jxl", "lz4", "lzma", "m4a", "m4v", "mkv", "mov",
        "mp3", "mp4", "mpeg", "mpg", "odp", "ods", "odt", "oga", "ogg", "ogv", "opus", "png",
        "pptx", "rar", "tbz2", "tgz", "txz", "war", "webm", "webp", "whl", "wma", "wmv", "woff",
        "woff2", "xlsx", "xz", "zip", "zst",
    }
)  # fmt: skip
_UNTOLD = frozenset({"application/octet-stream", "binary/octet-stream"})


def is_compressed(name: str, content_type: str | None) -> bool:
    """Whether a content is compressed already, by its media type, or by its name without one."""
    kind = (content_type or "").partition(";")[0].strip().lower()
    if kind and kind not in _UNTOLD:
        return kind in _TYPES or (kind.startswith(_MEDIA) and kind not in _PLAIN_MEDIA)
    return name.rpartition(".")[2].lower() in _EXTENSIONS
