"""Cached digests of files and folders."""

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from study_x import SAVE, remembered

from pqm.provenance.digests import MEMORY, Digests


def test_a_digest_is_of_the_bytes(file):
    shutil.copy(file, "data/b")
    assert (
        Digests().of("data/a")
        == Digests().of(Path("data/b"))
        == "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"
    )
    Path("data/b").write_bytes(b"two")
    assert Digests().of("data/a") != Digests().of("data/b")


def test_a_file_is_read_once(file, opened):
    digests = Digests()
    first = digests.of(file)
    assert digests.of("data/a") == first and digests.of("data") is not None
    assert opened == ["data/a"]
    digests.save()
    assert Digests().of("data/a") == first and Digests().of("data") is not None
    assert opened == ["data/a"]


def test_what_is_not_saved_is_read_again(file, opened):
    assert Digests().of(file) == Digests().of(file)
    assert opened == ["data/a", "data/a"]


def test_two_questions_about_a_path_get_one_answer(file):
    digests = Digests()
    first = digests.of(file), digests.of("nothing")
    file.write_bytes(b"another")
    Path("nothing").touch()
    assert (digests.of(file), digests.of("nothing")) == first
    assert Digests().of(file) != first[0] and Digests().of("nothing") is not None


def test_a_file_that_looks_untouched_is_not_read(file):
    """The cache compares size, modification time and inode."""
    first, stat = remembered(file), file.stat()
    file.write_bytes(b"two")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert Digests().of(file) == first


@pytest.mark.parametrize("change", ["size", "time", "inode"])
def test_a_file_that_was_touched_is_read_again(change, file, opened):
    first, stat = remembered(file), file.stat()
    if change == "inode":
        Path("data/other").write_bytes(b"two")
        os.replace("data/other", file)
    else:
        file.write_bytes(b"three" if change == "size" else b"two")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns + (change == "time")))
    assert Digests().of(file) != first
    assert opened == ["data/a", "data/a"]


@pytest.mark.parametrize("change", ["mode", "link", "read"])
def test_a_mode_a_link_and_a_reading_lose_nothing(change, file, opened):
    """DVC removes the write permission of files in its cache, and links them."""
    first = remembered(file)
    if change == "mode":
        file.chmod(0o444)
    elif change == "link":
        os.link(file, "data/hard")
    else:
        os.utime(file, ns=(1, file.stat().st_mtime_ns))
    assert Digests().of(file) == first and opened == ["data/a"]


def test_a_change_is_remembered_too(file, opened):
    remembered(file)
    file.write_bytes(b"another")
    changed = remembered(file)
    assert Digests().of(file) == changed and len(opened) == 2


@pytest.mark.parametrize("change", ["name", "byte", "new", "removed", "deep", "moved"])
def test_a_folder_is_its_names_and_bytes(change, file):
    Path("data/inner").mkdir()
    Path("data/inner/b").write_bytes(b"two")
    first = Digests().of("data")
    if change == "name":
        file.rename("data/c")
    elif change == "byte":
        file.write_bytes(b"onE")
    elif change == "new":
        Path("data/empty").touch()
    elif change == "removed":
        file.unlink()
    elif change == "deep":
        Path("data/inner/b").write_bytes(b"twO")
    else:
        Path("data/inner/b").rename("data/b")
    assert Digests().of("data") != first


def test_two_files_that_change_places_change_their_folder(file):
    Path("data/b").write_bytes(b"two")
    first = Digests().of("data")
    file.write_bytes(b"two")
    Path("data/b").write_bytes(b"one")
    assert Digests().of("data") != first


def test_the_digest_of_a_folder_ignores_its_path_and_snakemakes_files(file):
    first = Digests().of("data")
    shutil.copytree("data", "copy")
    Path("copy/.snakemake_timestamp").touch()
    assert Digests().of("copy") == first
    Path("linked").symlink_to("copy")
    assert Digests().of("linked") == first


def test_what_is_not_there_has_no_digest(file):
    Path("dangling").symlink_to("nowhere")
    assert Digests().of("nothing") is None and Digests().of("dangling") is None
    Path("empty").mkdir()
    assert Digests().of("empty") is not None
    first = remembered(file)
    file.unlink()
    assert Digests().of(file) is None
    file.write_bytes(b"one")
    assert Digests().of(file) == first


def test_processes_that_save_at_once_lose_nothing(opened):
    Path("data").mkdir()
    for writer in range(4):
        for number in range(100):
            Path(f"data/{writer}-{number}").write_text(f"{writer} {number}")
    processes = [subprocess.Popen([sys.executable, "-c", SAVE, str(writer)]) for writer in range(4)]
    while len(list(Path().glob("*.ready"))) < 4:
        assert all(process.poll() is None for process in processes)
        time.sleep(0.01)
    Path("go").touch()
    assert [process.wait(60) for process in processes] == [0] * 4
    digests = Digests()
    assert len({digests.of(path) for path in Path("data").iterdir()}) == 400 and opened == []


@pytest.mark.parametrize("broken", ["bytes", "folder", "table", "no folder"])
def test_a_memory_that_cannot_be_used_is_no_error(broken, file):
    first = remembered(file)
    MEMORY.unlink()
    if broken == "bytes":
        MEMORY.write_bytes(b"no database at all" * 100)
    elif broken == "folder":
        MEMORY.mkdir()
    elif broken == "table":
        with sqlite3.connect(MEMORY) as database:
            database.execute("CREATE TABLE digests (something TEXT)")
    else:
        shutil.rmtree(MEMORY.parent)
        MEMORY.parent.touch()
    assert remembered(file) == remembered(file) == first


def test_a_memory_that_cannot_be_written_is_no_error(file, monkeypatch, opened):
    first = remembered(file)
    Path("data/b").write_bytes(b"two")
    connect = sqlite3.connect

    def read_only(path: Any, **options: Any) -> sqlite3.Connection:
        return connect(f"file:{MEMORY}?mode=ro", **options | {"uri": True})

    with monkeypatch.context() as patch:
        patch.setattr(sqlite3, "connect", read_only)
        assert remembered("data/b") is not None and remembered(file) == first
    assert Digests().of(file) == first and Digests().of("data/b") is not None
    assert opened == ["data/a", "data/b", "data/b"]
