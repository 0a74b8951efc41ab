"""SHA-256 of files and folders, cached so that unchanged files are read once.

A file counts as unchanged if its size, modification time and inode are the same. Without the cache, files are read again.
"""

import hashlib
import os
import sqlite3
from contextlib import closing
from pathlib import Path

from pqm.study.layout import WORK

MEMORY = WORK / "digests.sqlite"  # the database of cached digests; several processes may use it at the same time
IGNORED = {".snakemake_timestamp"}  # written by Snakemake to folders that are outputs of a job
Key = tuple[int, int, int]


class Digests:
    """Digests of paths in the working directory.

    Within one object, the digest of a path is computed once, and does not change afterwards.
    """

    def __init__(self) -> None:
        self._remembered = self._load()
        self._learned: dict[str, tuple[Key, str]] = {}
        self._answers: dict[str, str | None] = {}

    def of(self, path: str | Path) -> str | None:
        """The digest of a file's bytes, or of the names and digests of a folder's files; None if the path does not exist."""
        name = os.fspath(path)
        if name not in self._answers:
            self._answers[name] = self._folder(name) if os.path.isdir(name) else self._file(name)
        return self._answers[name]

    def save(self) -> None:
        """Write new digests to the database. A database that cannot be written is no error."""
        if not self._learned:
            return
        rows = [(name, *key, digest) for name, (key, digest) in self._learned.items()]
        try:
            MEMORY.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(MEMORY, timeout=60)) as database, database:
                database.execute(
                    "CREATE TABLE IF NOT EXISTS digests (path TEXT PRIMARY KEY, size INT, time INT, inode INT, sha256 TEXT)"
                )
                database.executemany("INSERT OR REPLACE INTO digests VALUES (?, ?, ?, ?, ?)", rows)
        except (sqlite3.Error, OSError) as error:
            if type(error) is sqlite3.DatabaseError:  # the file is no database: start a new one
                MEMORY.unlink(missing_ok=True)
            return
        self._learned.clear()

    def _load(self) -> dict[str, tuple[Key, str]]:
        if not MEMORY.exists():
            return {}
        try:
            with closing(sqlite3.connect(f"file:{MEMORY}?mode=ro", uri=True, timeout=60)) as database:
                rows = database.execute("SELECT path, size, time, inode, sha256 FROM digests").fetchall()
        except sqlite3.Error:
            return {}
        return {path: ((size, time, inode), digest) for path, size, time, inode, digest in rows}

    def _file(self, name: str) -> str | None:
        try:
            stat = os.stat(name)
            key = (stat.st_size, stat.st_mtime_ns, stat.st_ino)
            known = self._learned.get(name) or self._remembered.get(name)
            if known is None or known[0] != key:
                with open(name, "rb") as file:
                    known = key, hashlib.file_digest(file, "sha256").hexdigest()
                self._learned[name] = known
        except FileNotFoundError:
            return None
        return known[1]

    def _folder(self, name: str) -> str:
        digest = hashlib.sha256()
        for file in sorted(files_below(name)):
            digest.update(f"{os.path.relpath(file, name)}\0{self._file(file)}\n".encode())
        return digest.hexdigest()


def files_below(folder: str) -> list[str]:
    """All files in a folder and its subfolders."""
    return [
        os.path.join(parent, name)
        for parent, _, names in os.walk(folder, followlinks=True)
        for name in names
        if name not in IGNORED
    ]
