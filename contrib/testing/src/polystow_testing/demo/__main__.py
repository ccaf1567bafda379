"""The demo's command line."""

import argparse
import sys
from pathlib import Path

import anyio

from polystow import Secret, StorageError
from polystow_testing.demo._run import DemoOptions, run_demo


def _parse(arguments: list[str]) -> DemoOptions:
    parser = argparse.ArgumentParser(
        prog="polystow_testing.demo",
        description="Upload a folder to S3 beside old files in FastDFS, and read all back by id.",
    )
    parser.add_argument("folder", nargs="?", default=".", type=Path, help="what to upload")
    parser.add_argument("--s3-endpoint", help="a real S3 server, instead of the one started here")
    parser.add_argument("--s3-access-key", help="by default botocore's usual places")
    parser.add_argument("--s3-secret-key", help="likewise; AWS_SECRET_ACCESS_KEY hides it better")
    parser.add_argument("--s3-region", default="us-east-1")
    parser.add_argument("--s3-bucket", default="polystow-demo", help="it has to exist")
    parser.add_argument("--tracker", action="append", default=[], help="HOST:PORT; may come again")
    parser.add_argument("--concurrency", type=int, default=8, help="files under way at once")
    parser.add_argument("--legacy", type=int, default=24, help="how many old files to seed")
    parser.add_argument("--keep", action="store_true", help="leave the files on real servers")
    given = parser.parse_args(arguments)
    if not given.folder.is_dir():
        parser.error(f"{str(given.folder)!r} is no folder")
    if given.concurrency < 1 or given.legacy < 1:
        parser.error("--concurrency and --legacy are at least 1")
    secret = given.s3_secret_key
    return DemoOptions(
        folder=given.folder.resolve(),
        s3_endpoint=given.s3_endpoint,
        s3_access_key=given.s3_access_key,
        s3_secret_key=None if secret is None else Secret(secret),
        s3_region=given.s3_region,
        s3_bucket=given.s3_bucket,
        trackers=tuple(given.tracker),
        concurrency=given.concurrency,
        legacy_files=given.legacy,
        keep=given.keep,
    )


def main(arguments: list[str]) -> int:
    """Run it; 0 if every byte was right."""
    options = _parse(arguments)
    try:
        return 0 if anyio.run(run_demo, options) else 1
    except* StorageError as group:
        for error in group.exceptions:
            sys.stderr.write(f"demo: {error}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
