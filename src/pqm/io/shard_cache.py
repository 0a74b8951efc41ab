"""A cache for the shards of unfinished outputs, from which an interrupted job resumes.

The key of a cache is a hash of everything that its content depends on: the settings, the bytes of the inputs and the code. Shards
of the same output with another key are outdated, and are removed. A lock per output keeps a second job that makes it waiting until
the first has ended.
"""

import glob
import hashlib
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
from pydantic import BaseModel

from pqm.io import formats
from pqm.io.file_lock import FileLock
from pqm.progress import progress, say

Item = TypeVar("Item")


class ShardCache:
    """The shards of one output, in a folder inside `root`, for this process alone until `finish`.

    The processes of one distributed training share it: the first of them (`RANK` is 0) holds the lock and removes what must be
    removed.

    Args:
        stage: the stage, which names the subfolder.
        output: the path of the output, part of the folder's name.
        settings, inputs: settings and files that the shards depend on.
    """

    def __init__(self, root: Path, stage: str, output: Path, settings: Sequence[BaseModel | str], inputs: Iterable[Path]) -> None:
        folder, name = root / stage, f"{output.name}-{hashlib.sha256(os.path.abspath(output).encode()).hexdigest()[:8]}"
        folder.mkdir(parents=True, exist_ok=True)
        self._lock: FileLock | None = None
        if os.environ.get("RANK", "0") == "0":
            self._lock = FileLock(folder / f"{name}.lock", f"waiting for another job that makes {output}")
        self.path = folder / f"{name}@{_key(settings, inputs)}"
        if self._lock is not None:
            for other in folder.glob(f"{glob.escape(name)}@*"):
                if other != self.path:
                    say(f"removed {other}: its settings, inputs or code have changed")
                    shutil.rmtree(other, ignore_errors=True)
        self.path.mkdir(exist_ok=True)

    def finish(self) -> None:
        """Remove the shards and end the lock, after the output is written."""
        if self._lock is not None:
            shutil.rmtree(self.path, ignore_errors=True)
            self._lock.release()

    def table_by_shards(
        self, items: Sequence[Item], make: Callable[[Item], list[dict[str, Any]]], title: str, unit: str
    ) -> pd.DataFrame:
        """The rows of every item, in order: finished shards are read from the cache, the others are computed and saved.

        Args:
            items: one item per shard.
            make: computes the rows of an item.
            title, unit: text of the progress bar.
        """
        parts = []
        for index, item in enumerate(progress(items, title, unit)):
            path = self.path / f"shard-{index:06d}.pickle"
            if not path.exists():
                with formats.whole_file(path) as part:
                    pd.DataFrame(make(item)).to_pickle(part)
            parts.append(pd.read_pickle(path))
        return pd.concat([part for part in parts if not part.empty] or [pd.DataFrame()], ignore_index=True)


def _key(settings: Sequence[BaseModel | str], inputs: Iterable[Path]) -> str:
    """A hash of everything that the shards depend on, 16 hexadecimal digits."""
    digest = hashlib.sha256(code_hash().encode())
    for setting in settings:
        digest.update((setting.model_dump_json() if isinstance(setting, BaseModel) else setting).encode() + b"\n")
    for path in inputs:
        digest.update(content_hash(path).encode())
    return digest.hexdigest()[:16]


@contextmanager
def noticing_sigterm() -> Iterator[Callable[[], bool]]:
    """Ignore SIGTERM (a cluster's notice of preemption) inside the block; the yielded function returns whether it was sent."""
    came = False

    def notice(*_: object) -> None:
        nonlocal came
        came = True

    earlier = signal.signal(signal.SIGTERM, notice)
    try:
        yield lambda: came
    finally:
        signal.signal(signal.SIGTERM, earlier)


def content_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, or of the names and bytes of a folder's files.

    A missing path is no error here, because its reader will report it.
    """
    if path.is_file():
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")):
        if file.is_file():
            digest.update(f"{file.relative_to(path).as_posix()}\0{content_hash(file)}".encode())
    return digest.hexdigest()


@cache
def code_hash() -> str:
    """SHA-256 of the source code of this package's loaded modules, which are those that a job uses."""
    digest = hashlib.sha256()
    for file in sorted({str(module.__file__) for name, module in sys.modules.items() if name.split(".")[0] == "pqm"}):
        if file.endswith(".py"):
            digest.update(Path(file).read_bytes())
    return digest.hexdigest()
