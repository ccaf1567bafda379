import gzip
import io
import tarfile
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polystow._sniffing import SNIFFED_BYTES, contradiction, sniff, sniff_content_type


def _zip(name: str, content: str = "") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(zipfile.ZipInfo(name), content)  # of no time: ids of tests stay
    return file.getvalue()


def _tar() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.txt"))
    return file.getvalue()


PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
JPEG = b"\xff\xd8\xff\xe0\0\x10JFIF\0"
PDF = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"
EXE = b"MZ\x90\0\3\0\0\0\4\0\0\0\xff\xff\0\0"
ELF = b"\x7fELF\2\1\1\0"
HTML = b"<!-- x --><!-- y -->\n<!DOCTYPE html><script>alert(1)</script>"
SVG = b'<?xml version="1.0"?>\n<!-- a --><svg xmlns="http://www.w3.org/2000/svg">'


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (PNG, "image/png"),
        (JPEG, "image/jpeg"),
        (b"GIF89a\1\0", "image/gif"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "image/webp"),
        (b"RIFF\x10\0\0\0WAVEfmt ", "audio/x-wav"),
        (b"II*\0\x08\0\0\0", "image/tiff"),
        (b"\0\0\0\x1cftypavif", "image/avif"),
        (b"\0\0\0\x18ftypheic", "image/heic"),
        (b"\0\0\0\x20ftypisom", "video/mp4"),
        (b"\0\0\0\x14ftypqt  ", "video/quicktime"),
        (b"\x1aE\xdf\xa3\x9fB\x86\x81\1B\xf7\x81\1B\x82\x84webm", "video/webm"),
        (b"ID3\4\0\0", "audio/mpeg"),
        (b"\xff\xfb\x90\x44", "audio/mpeg"),
        (PDF, "application/pdf"),
        (_zip("a.txt"), "application/zip"),
        (_zip("mimetype", "application/epub+zip"), "application/epub+zip"),
        (gzip.compress(b"x", mtime=0), "application/gzip"),
        (_tar(), "application/x-tar"),
        (EXE, "application/vnd.microsoft.portable-executable"),
        (ELF, "application/x-executable"),
        (HTML, "text/html"),
        (b"\xef\xbb\xbf  <html>", "text/html"),
        (SVG, "image/svg+xml"),
        (b"<?xml version='1.0'?><a/>", "text/xml"),
        (b"#!/bin/sh\n", "text/x-shellscript"),
        (b"MZ is how this text begins, and no program does" * 2, "text/plain"),
        ("Привет".encode(), "text/plain"),
        ("Привет".encode("utf-16"), "text/plain"),
        (b"\0\1\2\3", None),
        (b"", None),
    ],
)  # fmt: skip
def test_a_file_is_known_by_its_first_bytes(head: bytes, kind: str | None) -> None:
    assert sniff(head) == kind


@pytest.mark.parametrize("head", [HTML, SVG, b"<?xml version='1.0'?><a/>", b"#!/bin/sh\n"])
def test_what_a_browser_would_run_is_kept_as_text(head: bytes) -> None:
    assert sniff_content_type(head) == "text/plain"


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("a.png", PNG),
        ("A.JPG", JPEG),
        ("a.docx", _zip("[Content_Types].xml")),
        ("a.epub", _zip("mimetype", "application/epub+zip")),
        ("a.tar.gz", gzip.compress(b"", mtime=0)),
        ("a.tgz", gzip.compress(b"", mtime=0)),
        ("a.json.gz", gzip.compress(b"", mtime=0)),
        ("a.doc", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
        ("a.doc", b"{\\rtf1"),
        ("a.txt", b"plain"),
        ("a.txt", b""),
        ("page.html", HTML),
        ("a.svg", SVG),
        ("a.csv", "ä;ö".encode("latin-1")),
        ("a.bin", ELF),
        ("a.unheard-of", EXE),
        ("no-extension", EXE),
        ("a.wmv", b"\x30\x26\xb2\x75"),
    ],
)
def test_a_file_that_is_what_its_name_says_passes(name: str, head: bytes) -> None:
    assert contradiction(name, head) is None


@pytest.mark.parametrize(
    ("name", "head", "instead"),
    [
        ("photo.png", JPEG, "image/jpeg"),
        ("photo.jpg", HTML, "text/html"),
        ("photo.jpg", EXE, "application/vnd.microsoft.portable-executable"),
        ("a.docx", PDF, "application/pdf"),
        ("a.pdf", b"\0\1\2", "unknown data"),
        ("a.pdf", b"", "empty"),
        ("a.txt", ELF, "application/x-executable"),
        ("a.csv", b"\0\1\2", "unknown data"),
        ("a.swf", PDF, "application/pdf"),
        ("a.tar.gz", _zip("a"), "application/zip"),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_found(
    name: str, head: bytes, instead: str
) -> None:
    assert contradiction(name, head) == instead


@given(
    st.binary(max_size=SNIFFED_BYTES)
    | st.text(max_size=300).map(lambda t: t.encode("utf-8", "replace"))
)
def test_any_bytes_are_looked_at_and_safe_to_publish(head: bytes) -> None:
    assert sniff_content_type(head) not in {"text/html", "image/svg+xml", "text/xml"}
    contradiction("a.png", head)


def test_a_thousand_comments_take_no_time() -> None:
    import time

    start = time.perf_counter()
    sniff((b"<!---->" * SNIFFED_BYTES)[:SNIFFED_BYTES])
    assert time.perf_counter() - start < 0.05
