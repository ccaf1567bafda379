"""Try a distribution that is installed with nothing but what it depends on.

Run by nox in an environment of its own: `python alone.py polystow-s3`. Not a pytest module,
because pytest would bring distributions along.
"""

import importlib
import importlib.metadata
import sys

PACKAGES = {
    "polystow": "polystow",
    "polystow-s3": "polystow_s3",
    "polystow-fastdfs": "polystow_fastdfs",
    "polystow-cli": "polystow_cli",
    "polystow-fastapi": "polystow_fastapi",
    "polystow-gateway": "polystow_gateway",
    "polystow-s3py-helper": "polystow_s3py_helper",
    "polystow-testing": "polystow_testing",
}
# All that importing a package may load beside the standard library and itself: no SDK, no test
# tool, no other distribution. What is optional is in it too, since others may have installed it.
CORE = {
    "anyio", "attr", "attrs", "cattrs", "isal", "polystow", "sniffio", "typing_extensions",
}  # fmt: skip
MODELS = {"annotated_types", "pydantic", "pydantic_core", "typing_inspection"}
IMPORTS = {
    "polystow": CORE,
    "polystow-s3": CORE,
    "polystow-fastdfs": CORE,
    "polystow-cli": set[str](),
    "polystow-fastapi": CORE | {"python_multipart", "starlette"},
    "polystow-gateway": CORE,
    "polystow-s3py-helper": CORE | MODELS | {"polystow_fastdfs", "polystow_s3"},
    "polystow-testing": set[str](),
}
# And what asking for each public name loads: the drivers themselves.
NAMES = {
    "polystow-s3": {"cython_runtime", "httptools"},
    "polystow-fastdfs": {"aiofdfs", "aiofiles"},
}


def foreign() -> set[str]:
    """The packages that are loaded, but for the standard library's."""
    loaded = {name.partition(".")[0] for name in sys.modules}
    return {name for name in loaded - sys.stdlib_module_names if not name.startswith("_")}


def main(distribution: str) -> None:
    package = PACKAGES[distribution]
    before = foreign()  # what the interpreter starts with, such as a finder of virtualenv
    allowed = IMPORTS[distribution] | {package}
    importlib.import_module(package)
    unwanted = foreign() - before - allowed
    assert not unwanted, f"importing {package} imports {sorted(unwanted)}"
    files = importlib.metadata.files(distribution) or []
    assert any(file.name == "py.typed" for file in files), "the wheel has no py.typed"
    assert any("LICENSE" in file.name for file in files), "the wheel has no licence"
    for point in importlib.metadata.entry_points(group="polystow.drivers"):
        if point.dist is not None and point.dist.name == distribution:
            assert point.load().name == point.name
    unwanted = foreign() - before - allowed
    assert not unwanted, f"loading a DriverSpec imports {sorted(unwanted)}"
    module = sys.modules[package]
    for name in getattr(module, "__all__", ()):
        getattr(module, name)
    unwanted = foreign() - before - allowed - NAMES.get(distribution, set())
    assert not unwanted, f"the names of {package} import {sorted(unwanted)}"
    print(f"{distribution} {importlib.metadata.version(distribution)} works alone")


if __name__ == "__main__":
    main(sys.argv[1])
