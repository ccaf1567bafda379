import pytest
from hypothesis import given
from hypothesis import strategies as st

from polystow import InvalidPathError, Uri
from polystow._uris import extension_of

SCHEMES = st.from_regex(r"[a-z][a-z0-9+.-]{1,8}", fullmatch=True)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
CONTAINERS = TEXTS.filter(lambda text: text and "/" not in text)
KEYS = st.lists(TEXTS, max_size=4).map("/".join)
URIS = st.builds(Uri, SCHEMES, CONTAINERS, KEYS)


@given(URIS)
def test_an_id_that_is_put_together_parses_to_its_parts(uri: Uri) -> None:
    assert Uri.parse(str(uri)) == uri
    assert Uri.parse(uri.file_id) == uri
    assert (Uri.is_valid(str(uri)), Uri.is_valid(uri.file_id)) == (bool(uri.key), bool(uri.key))


@given(st.one_of(TEXTS, KEYS, URIS.map(str), URIS.map(lambda uri: uri.file_id)))
def test_the_canonical_form_of_any_id_is_its_own(text: str) -> None:
    try:
        uri = Uri.parse(text)
    except InvalidPathError:
        assert not Uri.is_valid(text)
        return
    assert str(Uri.parse(str(uri))) == str(uri)
    assert Uri.parse(str(uri)) == uri


@given(URIS, st.text("abc./", min_size=1).filter(lambda text: text.strip("/")))
def test_what_is_joined_is_below(uri: Uri, segment: str) -> None:
    joined = uri / segment
    assert str(joined).startswith(str(uri))
    assert joined.key.endswith(segment.lstrip("/"))
    assert joined == uri.join(segment)


@given(URIS, st.from_regex(r"[a-z0-9.]{1,10}", fullmatch=True))
def test_the_parent_of_a_child_is_the_folder(uri: Uri, name: str) -> None:
    folder = uri.join("") if not uri.key or uri.key.endswith("/") else uri / "/"
    child = folder / name
    assert child.filename == name
    assert str(child.parent) == str(uri) + ("" if str(uri).endswith("/") else "/")


@given(URIS)
def test_parents_end_at_the_container(uri: Uri) -> None:
    for _ in range(len(uri.key) + 1):
        uri = uri.parent
    assert (uri.key, uri.parent) == ("", uri)


@pytest.mark.parametrize(
    ("text", "scheme", "container", "key"),
    [
        ("s3:bucket/a/b.txt", "s3", "bucket", "a/b.txt"),
        ("s3://bucket/a/b.txt", "s3", "bucket", "a/b.txt"),
        ("group1/M00/00/00/x.jpg", None, "group1", "M00/00/00/x.jpg"),
        ("s3://bucket", "s3", "bucket", ""),
        ("s3://bucket/../x?y#z%20", "s3", "bucket", "../x?y#z%20"),
        ("s3://bucket//x", "s3", "bucket", "/x"),
    ],
)
def test_an_id_of_each_form_is_taken_apart(
    text: str, scheme: str | None, container: str, key: str
) -> None:
    assert Uri.parse(text) == Uri(scheme, container, key)


@pytest.mark.parametrize("text", ["", "S3://b/k", "s3:", "s3:///k", "C:/x", "/x", "s3://b/\ud800"])
def test_what_is_no_id_is_refused(text: str) -> None:
    assert not Uri.is_valid(text)
    with pytest.raises(InvalidPathError):
        Uri.parse(text)


@pytest.mark.parametrize(
    ("scheme", "container", "key"),
    [
        ("x", "b", "k"),
        ("s3", "b/c", "k"),
        ("s3", "", "k"),
        (None, "a:b", "k"),
        ("s3", "b", "k" * 1025),
    ],
)
def test_what_would_be_no_id_is_not_put_together(
    scheme: str | None, container: str, key: str
) -> None:
    with pytest.raises(InvalidPathError):
        Uri(scheme, container, key)


@pytest.mark.parametrize(
    ("name", "extension"),
    [
        ("a.pdf", "pdf"),
        ("A.PDF", "PDF"),
        ("a.tar.gz", "tar.gz"),
        ("a.b.TAR.zst", "TAR.zst"),
        ("tar.gz", "gz"),
        (".tar.gz", "gz"),
        ("a.gz", "gz"),
        ("a.b.gz", "gz"),
        (".profile", ""),
        ("..x", ""),
        ("a.", ""),
        ("a", ""),
        ("", ""),
    ],
)
def test_an_extension_is_what_stands_behind_the_last_dot(name: str, extension: str) -> None:
    assert extension_of(name) == extension
    if name:
        uri = Uri("s3", "b", f"folder.d/{name}")
        assert uri.extension == extension
        assert uri.stem + (f".{extension}" if extension else "") == name
