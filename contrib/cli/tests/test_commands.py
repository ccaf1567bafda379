"""The command as people run it: real processes, an S3 server, a FastDFS cluster."""

import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from cli_shell import Cluster, Shell

KEYS = ("a.txt", "sub/b.txt", "sub/deep/c d ä.txt")


def fill(shell: Shell, target: str = "file:box/in/") -> None:
    for key in KEYS:
        shell.ok("cp", "-", f"{target}{key}", stdin=key.encode())


def test_a_tree_goes_up_and_comes_back(cluster: Cluster) -> None:
    for key in KEYS:
        path = cluster.folder / "tree" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(key)
    (cluster.folder / "tree" / "link").symlink_to("a.txt")
    cluster.ok("cp", "-r", "tree/", "s3:bucket/up/")
    assert cluster.ok("ls", "-r", "s3:bucket/up/").splitlines() == [
        f"s3:bucket/up/{key}" for key in KEYS
    ]
    cluster.ok("cp", "-r", "tree", "file:box/up/")
    assert cluster.ok("ls", "-r", "file:box/up/").splitlines() == [
        f"file:box/up/tree/{key}" for key in KEYS
    ]
    cluster.ok("cp", "-r", "s3:bucket/up", "back")
    for key in KEYS:
        assert (cluster.folder / "back" / key).read_text() == key
    cluster.ok("mv", "-r", "s3:bucket/up/", "file:box/moved/")
    assert cluster.ok("ls", "-r", "s3:bucket/up/") == ""
    assert len(cluster.ok("ls", "-r", "file:box/moved/").splitlines()) == 3


def test_one_file_each_way(shell: Shell) -> None:
    (shell.folder / "a.txt").write_text("content")
    shell.ok("cp", "a.txt", "file:box/x/")
    shell.ok("cp", "a.txt", "file:box/exact")
    assert shell.ok("cat", "file:box/x/a.txt", "file:box/exact") == "contentcontent"
    shell.ok("cp", "file:box/exact", "local")
    assert (shell.folder / "local").read_text() == "content"
    shell.ok("cp", "file:box/exact", "folder/")
    assert (shell.folder / "folder" / "exact").read_text() == "content"
    shell.ok("cp", "file:box/exact", "memory:b/copy")
    shell.ok("mv", "file:box/exact", "moved")
    assert (shell.folder / "moved").read_text() == "content"
    assert shell.run("stat", "file:box/exact").code == 3
    shell.ok("mv", "moved", "file:box/again")
    assert not (shell.folder / "moved").exists()


def test_fastdfs_names_its_files_itself(cluster: Cluster) -> None:
    (cluster.folder / "photo.jpg").write_bytes(b"jpeg")
    told = json.loads(cluster.ok("--json", "cp", "photo.jpg", "fastdfs:"))
    file_id = told["target"]
    assert file_id.startswith("group1/M00/")
    assert cluster.ok("cat", file_id) == "jpeg"
    assert json.loads(cluster.ok("--json", "fastdfs", "id", file_id))["size"] == 4
    assert "crc32" in cluster.ok("fastdfs", "id", f"fastdfs:{file_id}")
    cluster.ok("cp", "--original-names", file_id, "named/")
    assert (cluster.folder / "named" / "photo.jpg").read_bytes() == b"jpeg"
    group = json.loads(cluster.ok("--json", "fastdfs", "groups"))
    assert group["name"] == "group1"
    wrong = cluster.run("fastdfs", "id", "group1/M00/00/00/../x")
    assert wrong.code == 2
    assert "Traceback" not in wrong.err


def test_wildcards(shell: Shell) -> None:
    fill(shell)
    shell.ok("cp", "file:box/in/*.txt", "one/")
    assert sorted(path.name for path in (shell.folder / "one").rglob("*.txt")) == ["a.txt"]
    shell.ok("cp", "file:box/in/**/*.txt", "all/")
    assert (shell.folder / "all" / "sub" / "deep" / "c d ä.txt").exists()
    assert shell.ok("ls", "file:box/in/s*/?.txt") == "file:box/in/sub/b.txt\n"
    assert shell.run("ls", "file:box/in/*.pdf").code == 3
    shell.ok("cp", "-", "file:box/odd[1].txt", stdin=b"odd")
    shell.ok("cp", "--literal", "file:box/odd[1].txt", "got")
    assert (shell.folder / "got").read_bytes() == b"odd"
    dry = shell.ok("rm", "-n", "file:box/in/**")
    assert dry.count("would delete") == 3
    shell.ok("rm", "file:box/in/**")
    assert shell.ok("ls", "-r", "file:box/in/") == ""


def test_pipes(shell: Shell) -> None:
    content = os.urandom(3_000_000)
    shell.ok("cp", "-", "file:box/piped", stdin=content)
    done = shell.run("cp", "file:box/piped", "-")
    assert (done.code, done.out) == (0, content)
    assert shell.run("cat", "file:box/piped", "file:box/piped").out == content * 2
    (shell.folder / "from-file").write_bytes(content)
    with (shell.folder / "from-file").open("rb") as file:
        process = shell.start("cp", "-", "file:box/from-file", stdin=file)
        assert process.communicate(timeout=60)[0].startswith(b"- -> file:box/from-file")


def test_listing_like_a_folder(shell: Shell) -> None:
    fill(shell)
    assert shell.ok("ls", "file:box/in/").splitlines() == [
        "file://box/in/sub/",
        "file:box/in/a.txt",
    ]
    assert shell.ok("ls", "file:box").splitlines() == ["file://box/in/"]
    assert "5 B" in shell.ok("ls", "-l", "file:box/in/a.txt")
    assert set(shell.ok("ls").split()) == {"file:", "memory:", "locked:"}


def test_json_is_a_document_a_line(shell: Shell) -> None:
    fill(shell)
    lines = [json.loads(line) for line in shell.ok("--json", "ls", "-r", "file:box").splitlines()]
    assert [line["id"] for line in lines] == [f"file:box/in/{key}" for key in KEYS]
    assert lines[0]["size"] == 5
    found = json.loads(shell.ok("--json", "stat", "file:box/in/a.txt"))
    assert found["checksum"].startswith("crc32:")
    states = [json.loads(line) for line in shell.ok("--json", "check").splitlines()]
    assert {state["scheme"]: state["state"] for state in states} == dict.fromkeys(
        ("file", "memory", "locked"), "ok"
    )


def test_metadata(shell: Shell) -> None:
    shell.ok("cp", "-", "file:box/m", stdin=b"x")
    shell.ok("meta", "set", "file:box/m", "author=john", "note=a=b")
    assert shell.ok("meta", "get", "file:box/m").splitlines() == ["author=john", "note=a=b"]
    shell.ok("meta", "set", "file:box/m", "author=jane")
    assert "author: jane" in shell.ok("stat", "file:box/m")
    shell.ok("meta", "set", "--replace", "file:box/m", "only=this")
    assert shell.ok("meta", "get", "file:box/m") == "only=this\n"


def test_archives(shell: Shell) -> None:
    fill(shell)
    shell.ok("zip", "-o", "all.zip", "-r", "file:box/in/")
    with zipfile.ZipFile(shell.folder / "all.zip") as archive:
        assert len(archive.namelist()) == 3
    out = shell.run("zip", "-o", "-", "file:box/in/a.txt").out
    with zipfile.ZipFile(io.BytesIO(out)) as archive:
        assert archive.read("a.txt") == b"a.txt"
    shell.ok("zip", "-o", "memory:b/all.zip", "file:box/in/a.txt")
    missing = shell.run("zip", "-o", "bad.zip", "file:box/in/a.txt", "file:box/none")
    assert missing.code == 3
    assert not (shell.folder / "bad.zip").exists()
    skipped = shell.run("zip", "--skip-errors", "-o", "some.zip", "file:box/in/a.txt", "file:box/n")
    assert skipped.code == 1
    assert "left out" in skipped.err


def test_signed_urls(cluster: Cluster) -> None:
    cluster.ok("cp", "-", "s3:bucket/signed", stdin=b"x")
    url = cluster.ok("presign", "--expires", "60", "s3:bucket/signed").strip()
    assert url.startswith(cluster.server.endpoint)
    assert "X-Amz-Expires=60" in url
    assert cluster.run("presign", "file:box/m").code == 2


def test_drivers_and_completion(shell: Shell) -> None:
    assert "polystow-s3" in shell.ok("drivers")
    for name in ("bash", "zsh", "fish"):
        assert "_POLYSTOW_COMPLETE" in shell.ok("completion", name)
    completed = shell.run(
        env={"_POLYSTOW_COMPLETE": "bash_complete", "COMP_WORDS": "polystow c", "COMP_CWORD": "1"}
    )
    assert {line.rpartition(",")[2] for line in completed.out.decode().splitlines()} >= {
        "cp",
        "cat",
        "check",
    }


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["cat", "file:box/none"], 3, "there is no such object"),
        (["cp", "nowhere", "file:box/"], 3, "there is no local file 'nowhere'"),
        (["cp", "store", "file:box/"], 2, "--recursive"),
        (["cp", "a", "b"], 2, "both are local paths"),
        (["cp", "-", "b"], 2, "stdin can be copied to an id only"),
        (["cp", "-", "file:box/"], 2, "is a folder"),
        (["mv", "-", "file:box/x"], 2, "a pipe can't be moved"),
        (["stat", "S3:bucket/x"], 2, "can't be a scheme"),
        (["stat", "cold:bucket/x"], 2, "no driver is mounted as 'cold'"),
        (["stat", ""], 2, ""),
        (["rm", "polystow.toml"], 2, "is no id"),
        (["cp", "polystow.toml", "locked:b/k"], 4, "read only"),
        (["meta", "set", "file:box/m", "novalue"], 2, "NAME=VALUE"),
        (["presign", "file:box/x"], 2, "no mounted driver can do that"),
        (["--config", "none.toml", "ls"], 6, "there is no configuration file"),
        (["--config", "nosuchdriver:", "ls"], 6, "nosuchdriver"),
        (["frobnicate"], 2, "No such command"),
    ],
)
def test_what_goes_wrong_is_one_sentence(
    shell: Shell, arguments: list[str], code: int, said: str
) -> None:
    done = shell.run(*arguments)
    assert done.code == code, done.err
    assert said in done.err
    assert "Traceback" not in done.err
    assert "not-to-be-shown" not in done.err


def test_debug_shows_where_it_went_wrong(shell: Shell) -> None:
    done = shell.run("--debug", "cat", "file:box/none")
    assert done.code == 1
    assert "Traceback" in done.err
    assert "NotFoundError" in done.err


def test_a_server_that_is_not_there(shell: Shell) -> None:
    url = "s3://key:hidden-secret@127.0.0.1:9/bucket?tls=false&connect_timeout_s=1"
    done = shell.run("--config", url, "cat", "s3:bucket/x")
    assert done.code == 5
    assert "hidden-secret" not in done.err


def test_nothing_is_replaced_where_that_is_not_wanted(shell: Shell) -> None:
    (shell.folder / "a").write_text("old")
    shell.ok("cp", "-", "file:box/k", stdin=b"new")
    assert shell.run("cp", "--no-overwrite", "file:box/k", "a").code == 7
    assert (shell.folder / "a").read_text() == "old"
    assert shell.run("cp", "--no-overwrite", "a", "file:box/k").code == 7
    assert shell.ok("cat", "file:box/k") == "new"
    shell.ok("cp", "-n", "file:box/k", "a")
    assert (shell.folder / "a").read_text() == "old"


def test_one_failure_does_not_stop_the_others(shell: Shell) -> None:
    fill(shell)
    done = shell.run("cp", "file:box/in/a.txt", "file:box/none", "file:box/in/sub/b.txt", "out/")
    assert done.code == 3
    assert sorted(path.name for path in (shell.folder / "out").iterdir()) == ["a.txt", "b.txt"]


def test_where_the_configuration_comes_from(shell: Shell, tmp_path: Path) -> None:
    inside = Shell(tmp_path / "elsewhere", shell.zygote)
    inside.folder.mkdir()
    assert inside.run("ls").code == 6
    assert inside.run("ls", env={"POLYSTOW__MOUNTS__MEMORY__DEFAULT_CONTAINER": "x"}).code == 0
    (tmp_path / "named.toml").write_text('[mounts.other]\ndriver = "memory"\n')
    named = {"POLYSTOW_CONFIG": str(tmp_path / "named.toml")}
    assert b"other:" in inside.run("ls", env=named).out
    home = inside.folder / "home" / ".config" / "polystow"
    home.mkdir(parents=True)
    (home / "config.toml").write_text("[mounts.memory]\n")
    assert inside.ok("ls").startswith("memory:")
    assert "valid" in inside.ok("check", "--offline")
    (inside.folder / "polystow.toml").write_text("[mounts.memory]\nno_such_key = 1\n")
    done = inside.run("check", "--offline")
    assert done.code == 6
    assert "no_such_key" in done.err


def test_an_id_is_explained_without_asking_anybody(cluster: Cluster) -> None:
    told = cluster.ok("explain", "s3:bucket/k")
    assert "driver: s3 (polystow-s3)" in told
    assert "not-to-be-shown" not in told
    assert json.loads(cluster.ok("--json", "explain", "locked:b/k"))["writable"] is False


def test_checking_may_write(shell: Shell) -> None:
    told = shell.ok("check", "--write")
    assert "writable" in told
    assert "read only" in told
    assert shell.ok("ls", "-r", "file:files") == ""


def test_a_copy_imports_no_more_than_it_needs(tmp_path: Path) -> None:
    (tmp_path / "polystow.toml").write_text(
        '[mounts.s3]\nendpoint = "http://127.0.0.1:9"\naccess_key_id = "k"\n'
        'secret_access_key = "s"\n'
    )
    (tmp_path / "a.txt").write_text("a")
    code = """
import atexit, gc, sys
unneeded = {"botocore", "rich", "wcmatch", "polystow_s3._setting_values"}
atexit.register(lambda: print(sorted(unneeded & set(sys.modules)), gc.isenabled()))
from polystow_cli.__main__ import main
sys.argv = ["polystow", "cp", "--dry-run", "a.txt", "s3:bucket/a"]
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[1:] == ["[] True"]
