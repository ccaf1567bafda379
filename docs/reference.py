"""What these pages take from the code instead of repeating it.

Directives: `config` (the settings of a config class), `capabilities` (of drivers), `errors` (the
tree of errors), `features` (those of the peers, with our tests), `api` (every public name of a
module). Links between READMEs become links between their pages.
"""

import importlib
import inspect
import re
import types
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAliasType, cast, override

import attrs
from docutils import nodes
from docutils.statemachine import StringList
from features import features
from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata

from polystow import Capabilities, StorageError
from polystow_cli._exits import exit_of
from polystow_fastapi import status_of

DOCS = Path(__file__).parent
ROOT = DOCS.parent
PAGES = {
    "README.md": "index",
    "CONTRIBUTING.md": "contributing",
    "core/README.md": "core",
    "drivers/s3/README.md": "drivers/s3",
    "drivers/fastdfs/README.md": "drivers/fastdfs",
    "contrib/cli/README.md": "cli",
    "contrib/fastapi/README.md": "fastapi",
    "contrib/gateway/README.md": "gateway",
    "contrib/s3py_helper/README.md": "coming-from/s3py-helper-package",
    "contrib/template/README.md": "writing-a-driver",
    "contrib/testing/README.md": "testing",
    "contrib/testing/FASTDFS.md": "testing-fastdfs",
}
"""Files outside of this folder that a page here includes."""

HOME = "https://github.com/polystow/polystow/blob/main/"
"""How READMEs that packages carry along link to files here: on an index nothing is beside them."""

_LINK = re.compile(rf"\]\(({re.escape(HOME)})?(?![a-z]+:|#|/)([^)#\s]+)(#[^)\s]*)?\)")


def relinked(text: str, folder: Path) -> str:
    """Markdown whose relative links lead to the pages here that show those files."""

    def to_page(match: re.Match[str]) -> str:
        target = ((ROOT if match[1] else folder) / match[2]).resolve()
        if target.is_relative_to(DOCS):
            return f"](/{target.relative_to(DOCS)}{match[3] or ''})"
        page = PAGES.get(str(target.relative_to(ROOT))) if target.is_relative_to(ROOT) else None
        return match[0] if page is None else f"](/{page}.md{match[3] or ''})"

    return _LINK.sub(to_page, text)


def _relink_page(app: Sphinx, docname: str, source: list[str]) -> None:
    source[0] = relinked(source[0], Path(app.env.doc2path(docname)).parent)


def _relink_include(app: Sphinx, path: Path, docname: str, source: list[str]) -> None:
    source[0] = relinked(source[0], (Path(app.srcdir) / path).resolve().parent)


def described(cls: type[object]) -> dict[str, str]:
    """The attributes that a class's docstring describes, by name."""
    _, _, section = (inspect.getdoc(cls) or "").partition("Attributes:\n")
    found: dict[str, str] = {}
    name = ""
    for line in section.splitlines():
        entry = re.match(r"    (\w+): (.*)", line)
        if entry:
            name = entry[1]
            found[name] = entry[2]
        elif line.startswith("        ") and name:
            found[name] += " " + line.strip()
        elif line.strip():
            break
    return found


def _shown_type(annotation: object) -> str:
    if isinstance(annotation, TypeAliasType):
        annotation = annotation.__value__
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    text = re.sub(r"^(?:typing\.)?Optional\[(.*)\]$", r"\1 | None", text)
    return re.sub(r"\b(?:[\w]+\.)+(\w+)", r"\1", text)


def _shown_default(field: "attrs.Attribute[Any]") -> str:
    default = field.default
    if default is attrs.NOTHING:
        return "required"
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]
        return ""
    if default is None or default == ():
        return ""
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, int) and default >= 1024 * 1024 and default % (1024 * 1024) == 0:
        return f"`{default}` ({default // 1024**2} MiB)"
    return f'`"{default}"`' if isinstance(default, str) else f"`{default}`"


def _imported(path: str) -> Any:  # noqa: ANN401 - whatever the page names
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


class ConfigTable(SphinxDirective):
    """The settings of a config class: key, type, default, meaning."""

    required_arguments = 1

    @override
    def run(self) -> list[nodes.Node]:
        cls = cast("type[attrs.AttrsInstance]", _imported(self.arguments[0]))
        meanings = described(cls)
        missing = [field.name for field in attrs.fields(cls) if field.name not in meanings]
        if missing:
            raise self.error(f"{self.arguments[0]} does not describe {', '.join(missing)}")
        lines = ["| key | type | default | |", "| --- | --- | --- | --- |"]
        for field in attrs.fields(cls):
            kind = _shown_type(field.type).replace("tuple[str, ...]", "list of str")
            kind = kind.replace("|", "\\|")
            meaning = meanings[field.name].replace("|", "\\|")
            lines.append(f"| `{field.name}` | `{kind}` | {_shown_default(field)} | {meaning} |")
        return self.parse_text_to_nodes("\n".join(lines))


class CapabilityTable(SphinxDirective):
    """What a driver can have beyond its four methods: the methods of each capability."""

    @override
    def run(self) -> list[nodes.Node]:
        lines = ["| capability | methods | |", "| --- | --- | --- |"]
        for capability, protocol in _protocols():
            for name, method in vars(protocol).items():
                if not name.startswith("_") and inspect.isroutine(method):
                    signature = f"{name}{_shown_signature(method)}".replace("|", "\\|")
                    what = (inspect.getdoc(method) or "").partition("\n\n")[0].replace("\n", " ")
                    lines.append(f"| `{capability}` | `{signature}` | {what} |")
                    capability = ""
        return self.parse_text_to_nodes("\n".join(lines).replace("| `` |", "| |"))


def _protocols() -> Iterator[tuple[str, type]]:
    for field in attrs.fields(Capabilities):
        for part in typing.get_args(typing.get_type_hints(Capabilities)[field.name]):
            if part is not type(None):
                yield field.name, part


def _shown_signature(method: Callable[..., object]) -> str:
    signature = inspect.signature(method)
    taken = [
        f"{one.name}: {_shown_type(one.annotation)}"
        for one in signature.parameters.values()
        if one.name != "self"
    ]
    given = re.sub(r"^Awaitable\[(.*)\]$", r"\1", _shown_type(signature.return_annotation))
    return f"({', '.join(taken)}) -> {given}"


def _subclasses(cls: type[StorageError]) -> Iterator[type[StorageError]]:
    for below in sorted(cls.__subclasses__(), key=lambda error: error.__name__):
        if below.__module__.startswith("polystow."):
            yield below
            yield from _subclasses(below)


class ErrorTable(SphinxDirective):
    """Every error: what else it is, what it means, how it is answered."""

    @override
    def run(self) -> list[nodes.Node]:
        lines = [
            "| error | is also a | when | HTTP | command |",
            "| --- | --- | --- | --- | --- |",
        ]
        for cls in _subclasses(StorageError):
            others = [
                f"`{base.__name__}`" for base in cls.__bases__ if not issubclass(base, StorageError)
            ]
            error = cls("")
            when = (inspect.getdoc(cls) or "").partition("\n\n")[0].replace("\n", " ")
            lines.append(
                f"| `{cls.__name__}` | {', '.join(others)} | {when} "
                f"| {status_of(error)} | {int(exit_of(error))} |"
            )
        return self.parse_text_to_nodes("\n".join(lines))


class FeatureTables(SphinxDirective):
    """The features of each peer, with the tests that show ours; what is none, with the reason."""

    @override
    def run(self) -> list[nodes.Node]:
        self.env.note_dependency(str(DOCS / "features.toml"))
        every, pages, _, left_out = features()
        lines: list[str] = []
        for peer, page in pages.items():
            lines += [f"**[{peer}](/{page.relative_to(DOCS)})**", ""]
            lines += ["| feature | its calls | tests of ours |", "| --- | --- | --- |"]
            for one in every:
                if one.peer == peer:
                    calls = ", ".join(f"`{call}`" for call in one.calls if "`" not in call)
                    tests = "; ".join(_shown_test(*test.split()) for test in one.tests)
                    lines.append(f"| {one.name} | {calls} | {tests} |")
            lines.append("")
        lines += ["**Left out**", ""]
        lines += [f"- {why} ({len(rows)})" for why, rows in left_out.items()]
        return self.parse_text_to_nodes("\n".join(lines))


def _shown_test(folder: str, module: str, name: str) -> str:
    return f"{name.replace('_', ' ')} (`{folder}`, `test_{module}`)"


class Api(SphinxDirective):
    """Autodoc of every name in a module's `__all__`; in `eval-rst`, since docstrings are that."""

    required_arguments = 1

    @override
    def run(self) -> list[nodes.Node]:
        module = importlib.import_module(self.arguments[0])
        groups: dict[str, list[str]] = {
            "Functions": [], "Classes": [], "Errors": [], "Types and constants": [],
        }  # fmt: skip
        for name in module.__all__:
            group, lines = _documented(module, name)
            groups[group] += [*lines, ""]
        text: list[str] = []
        for title, lines in groups.items():
            if lines:
                text += [f".. rubric:: {title}", "", *lines]
        node = nodes.section()
        node.document = self.state.document
        self.state.nested_parse(StringList(text, self.arguments[0]), self.content_offset, node)
        return node.children


def _documented(module: types.ModuleType, name: str) -> tuple[str, list[str]]:
    value: object = getattr(module, name)
    path = f"{module.__name__}.{name}"
    if isinstance(value, type):
        group = "Errors" if issubclass(value, BaseException) else "Classes"
        lines = [f".. autoclass:: {path}", "   :members:"]
        # What the package above exports too has its place in the index there.
        above, _, _ = module.__name__.rpartition(".")
        if above and getattr(importlib.import_module(above), name, None) is value:
            lines.append("   :no-index:")
        return group, lines
    if inspect.isroutine(value):
        return "Functions", [f".. autofunction:: {path}"]
    shown = str(value.__value__) if isinstance(value, TypeAliasType) else type(value).__name__
    doc = _written_below(value, name) if isinstance(value, TypeAliasType) else ""
    lines = [f".. py:data:: {path}", f"   :type: {_shown_type(shown)}", ""]
    text = _CODE.sub(r"``\1``", doc).splitlines()
    return "Types and constants", [*lines, *(f"   {line}" for line in text)]


def _written_below(value: TypeAliasType, name: str) -> str:
    docs = ModuleAnalyzer.for_module(str(value.__module__)).find_attr_docs()
    return "\n".join(docs.get(("", name), []))


_FENCE = re.compile(r"^( *)```(\w*)$")
_CODE = re.compile(r"(?<!`)`([^`]+)`(?!`)")


def _code_to_rst(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Docstrings' code, marked as in Markdown, is marked as in reStructuredText."""
    out: list[str] = []
    inside = False
    for line in lines:
        fence = _FENCE.match(line)
        if fence is None:
            out.append(f"   {line}" if inside else _CODE.sub(r"``\1``", line))
        elif inside:
            inside = False
            out.append("")
        else:
            inside = True
            out += ["", f"{fence[1]}.. code-block:: {fence[2] or 'text'}", ""]
    lines[:] = out


def setup(app: Sphinx) -> ExtensionMetadata:
    """What Sphinx calls."""
    app.add_directive("config", ConfigTable)
    app.add_directive("capabilities", CapabilityTable)
    app.add_directive("errors", ErrorTable)
    app.add_directive("features", FeatureTables)
    app.add_directive("api", Api)
    app.connect("source-read", _relink_page)
    app.connect("include-read", _relink_include)
    app.connect("autodoc-process-docstring", _code_to_rst, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
