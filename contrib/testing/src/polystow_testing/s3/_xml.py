"""The few XML documents of the S3 API that the server writes and reads."""

from collections.abc import Iterable
from xml.etree import ElementTree
from xml.sax.saxutils import escape

type Tree = dict[str, "Tree | str | int | bool | list[Tree] | None"]

_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


def document(root: str, tree: Tree) -> bytes:
    """A document; None leaves an element out, a list repeats it."""
    inner = "".join(_element(name, value) for name, value in tree.items())
    head = '<?xml version="1.0" encoding="UTF-8"?>\n'
    if root == "Error":
        return f"{head}<Error>{inner}</Error>".encode()
    return f'{head}<{root} xmlns="{_NAMESPACE}">{inner}</{root}>'.encode()


def _element(name: str, value: "Tree | str | int | bool | list[Tree] | None") -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return "".join(_element(name, item) for item in value)
    if isinstance(value, dict):
        text = "".join(_element(inner, item) for inner, item in value.items())
    elif isinstance(value, bool):
        text = "true" if value else "false"
    else:
        text = escape(str(value), {"\r": "&#13;"})
    return f"<{name}>{text}</{name}>"


def children(data: bytes, name: str) -> Iterable[dict[str, str]]:
    """The elements `name` under the root, each as its children's names and texts.

    Raises:
        ValueError: It is no XML.
    """
    try:
        root = ElementTree.fromstring(data)  # noqa: S314 - from the test itself
    except ElementTree.ParseError as error:
        raise ValueError(str(error)) from error
    for element in root:
        if _local(element.tag) == name:
            yield {_local(child.tag): child.text or "" for child in element}


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]
