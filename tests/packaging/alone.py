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
# What importing a package may not pull in: SDKs, test tools, and the other distributions.
HEAVY = {
    "aiobotocore", "aiofdfs", "aiofiles", "aiohttp", "botocore", "fastapi", "flask", "hypothesis",
    "moto", "pydantic", "pytest", "rich", "trio",
}  # fmt: skip


# What some import because they are made of it.
MADE_OF = {"polystow-s3py-helper": {"polystow_fastdfs", "polystow_s3", "pydantic"}}


def main(distribution: str) -> None:
    package = PACKAGES[distribution]
    importlib.import_module(package)
    allowed = {package, "polystow"} if distribution != "polystow-testing" else {package}
    loaded = {name.partition(".")[0] for name in sys.modules}
    allowed |= MADE_OF.get(distribution, set())
    unwanted = loaded & (HEAVY | set(PACKAGES.values())) - allowed
    assert not unwanted, f"importing {package} imports {sorted(unwanted)}"
    typed = importlib.metadata.files(distribution) or []
    assert any(file.name == "py.typed" for file in typed), "the wheel has no py.typed"
    assert any("LICENSE" in file.name for file in typed), "the wheel has no licence"
    if distribution != "polystow-testing":
        for point in importlib.metadata.entry_points(group="polystow.drivers"):
            assert point.dist is not None
            if point.dist.name == distribution:
                spec = point.load()
                assert spec.name == point.name
        loaded = {name.partition(".")[0] for name in sys.modules}
        heavy = loaded & HEAVY - allowed
        assert not heavy, f"loading a DriverSpec imports {sorted(heavy)}"
    print(f"{distribution} {importlib.metadata.version(distribution)} works alone")


if __name__ == "__main__":
    main(sys.argv[1])
