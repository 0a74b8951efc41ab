"""The local paths of published files, and where to get them."""

from codecs import BOM_UTF8
from pathlib import Path
from typing import Any

from pqm.errors import PqmError

PUBLISHED = Path("data", "published")
PLACES = {
    "gsm8k": "github.com/openai/grade-school-math (grade_school_math/data)",
    "gsm-plus": "huggingface.co/datasets/qintongli/GSM-Plus",
    "math500": "huggingface.co/datasets/HuggingFaceH4/MATH-500",
    "math-shepherd": "huggingface.co/datasets/peiyi9979/Math-Shepherd",
    "prm800k": "github.com/openai/prm800k (prm800k/data)",
    "processbench": "huggingface.co/datasets/Qwen/ProcessBench",
    "champ": "the package champ-dataset",
}

# Beginnings of files that are often found in place of data, in lower case, and what to do about them.
STAND_INS = {
    b"version https://git-lfs": "is a git-LFS pointer, not the data; run `git lfs pull`, or download the file itself",
    b"<": "is a web page, not the data; download the file itself, not the page that shows it",
    b"\x1f\x8b": "is compressed (gzip); unpack it",
    b"pk\x03\x04": "is compressed (zip); unpack it",
    b"\x28\xb5\x2f\xfd": "is compressed (zstd); unpack it",
}


def published_file(source: Any) -> Path | None:
    """The local file of a source.

    There is none for the hub and for packages, because the settings and the lock file pin their content.
    """
    return PUBLISHED / source.path if source is not None and source.kind == "file" else None


def missing_file(path: Path, file_format: str) -> str:
    """The message about a missing file: where to get it."""
    return f"{path} is missing; get it from {PLACES.get(file_format, 'its publisher; the path is set in the study')}"


def stand_in(path: Path) -> str | None:
    """A message if a file contains something else than data: a git-LFS pointer, a web page or a compressed file; or None."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        start = file.read(1000).removeprefix(BOM_UTF8).lstrip().lower()
    return next((found for beginning, found in STAND_INS.items() if start.startswith(beginning)), None)


def source_file(item: Any) -> list[str]:
    """The local file that an item of a study is read from, if any, see `published_file`.

    Raises:
        PqmError: the file is missing; the message explains where to get it.
    """
    source: Any = getattr(item, "source", None)
    path = published_file(source)
    if path is None:
        return []
    if not path.exists():
        raise PqmError(missing_file(path, source.format))
    return [str(path)]
