"""Finished parts of unfinished work: kept until the output is whole, so that a killed job goes on where it was.

A work folder is keyed by everything that makes its content: the settings, the bytes of the inputs and the code. The parts
that an earlier try left for the same output with another key cannot be used any more, and are removed.
"""

import glob
import hashlib
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

from pqm import formats
from pqm.progress import progress, say

Item = TypeVar("Item")


class WorkFolder:
    """A folder below `root` for one output; removed by `finish`."""

    def __init__(self, root: Path, stage: str, output: Path, settings: Sequence[BaseModel | str], inputs: Iterable[Path]) -> None:
        digest = hashlib.sha256(code_hash().encode())
        for setting in settings:
            digest.update((setting.model_dump_json() if isinstance(setting, BaseModel) else setting).encode() + b"\n")
        for path in inputs:
            digest.update(content_hash(path).encode())
        name = f"{output.name}-{hashlib.sha256(str(output).encode()).hexdigest()[:8]}"
        self.path = root / stage / f"{name}@{digest.hexdigest()[:16]}"
        for other in self.path.parent.glob(f"{glob.escape(name)}@*"):
            if other != self.path:
                say(f"removed {other}: what it was made from has changed")
                shutil.rmtree(other, ignore_errors=True)
        self.path.mkdir(parents=True, exist_ok=True)

    def finish(self) -> None:
        """Forget the parts; call it when the output stands."""
        shutil.rmtree(self.path, ignore_errors=True)

    def table_by_shards(
        self, items: Sequence[Item], make: Callable[[Item], list[dict[str, Any]]], title: str, unit: str
    ) -> pd.DataFrame:
        """The rows of every item, in order; what an earlier try finished is read, the rest is made and kept."""
        parts = []
        for index, item in enumerate(progress(items, title, unit)):
            path = self.path / f"shard-{index:06d}.pickle"
            if not path.exists():
                with formats.whole_file(path) as part:
                    pd.DataFrame(make(item)).to_pickle(part)
            parts.append(pd.read_pickle(path))
        return pd.concat([part for part in parts if not part.empty] or [pd.DataFrame()], ignore_index=True)


@contextmanager
def noticing_sigterm() -> Iterator[Callable[[], bool]]:
    """Inside the block SIGTERM, a cluster's notice that a job must make room, ends nothing: the function says whether it came."""
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
    """SHA-256 of a file's bytes, or of every file of a folder with its name; of a missing path, which its reader will name, none."""
    if path.is_file():
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")):
        if file.is_file():
            digest.update(f"{file.relative_to(path).as_posix()}\0{content_hash(file)}".encode())
    return digest.hexdigest()


def checkpoint_hash(checkpoint: Path) -> str:
    """A short name for a checkpoint's weights."""
    digest = hashlib.sha256()
    for file in sorted(checkpoint.glob("*.safetensors")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


@cache
def code_hash() -> str:
    """SHA-256 of the source of this package's modules that are loaded: those that a job runs through, and no others."""
    digest = hashlib.sha256()
    for file in sorted({str(module.__file__) for name, module in sys.modules.items() if name.split(".")[0] == "pqm"}):
        if file.endswith(".py"):
            digest.update(Path(file).read_bytes())
    return digest.hexdigest()
