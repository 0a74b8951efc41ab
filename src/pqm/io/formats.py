"""The tables that stages exchange: their columns and checks, and atomic writing.

`docs/formats.md` describes the columns; a test compares it with this module.
"""

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pqm.errors import PqmError

NO_ANSWER = "None"  # the gold answer of questions that cannot be answered
NO_ERROR = -1  # the first error of a solution without a wrong step
Check = Callable[[Any], str | None]


def _filled(value: Any) -> str | None:
    return None if isinstance(value, str) and value.strip() else "expected text, found nothing"


def _shares(values: Any) -> str | None:
    wrong = [value for value in values if not 0 <= value <= 1]
    return f"expected labels in [0, 1], found {wrong[0]}" if wrong else None


def _numbers(values: Any) -> str | None:
    wrong = [value for value in values if value != value or value in (float("inf"), float("-inf"))]
    return f"expected finite numbers, found {wrong[0]}" if wrong else None


@dataclass(frozen=True)
class Format:
    """A parquet table.

    Attributes:
        name: the name of the format, for messages.
        schema: the arrow schema.
        key: the columns that identify a row.
        checks: a check per column, called with each value.
        same_length: list columns that have the same length in each row.
    """

    name: str
    schema: pa.Schema
    key: tuple[str, ...]
    checks: dict[str, Check] = field(default_factory=dict)
    same_length: tuple[str, ...] = ()


_TEXTS, _FLOATS, _INTS = pa.list_(pa.string()), pa.list_(pa.float64()), pa.list_(pa.int64())

QUESTIONS = Format(
    "questions",
    pa.schema(
        [
            ("question_id", pa.string()),
            ("question", pa.string()),
            ("answer", pa.string()),
            ("solution", _TEXTS),
            ("cluster", pa.string()),
            ("perturbation", pa.string()),
        ]
    ),
    key=("question_id",),
    checks={"question": _filled, "answer": _filled},
)
ROLLOUTS = Format(
    "rollouts",
    pa.schema(
        [
            ("question_id", pa.string()),
            ("sample_id", pa.int64()),
            ("text", pa.string()),
            ("steps", _TEXTS),
            ("n_tokens", pa.int64()),
            ("finish_reason", pa.string()),
            ("log_likelihood", pa.float64()),
            ("seed", pa.int64()),
            ("engine", pa.string()),
        ]
    ),
    key=("question_id", "sample_id"),
)
LABELS = Format(
    "labels",
    pa.schema(
        [
            ("question_id", pa.string()),
            ("policy", pa.string()),
            ("prompt", pa.string()),
            ("completions", _TEXTS),
            ("labels", _FLOATS),
            ("soft_labels", _FLOATS),
            ("hits", _INTS),
            ("counts", _INTS),
            ("answer", pa.string()),
            ("correct", pa.bool_()),
            ("method", pa.string()),
            ("completion_tokens", pa.int64()),
        ]
    ),
    key=("prompt", "completions"),
    checks={"prompt": _filled, "labels": _shares, "soft_labels": _shares},
    same_length=("completions", "labels", "soft_labels"),
)
GRADES = Format(
    "grades",
    pa.schema(
        [
            ("question_id", pa.string()),
            ("cluster", pa.string()),
            ("sample_id", pa.int64()),
            ("answer", pa.string()),
            ("correct", pa.bool_()),
            ("grader", pa.string()),
            ("second_correct", pa.bool_()),
            ("first_error", pa.int64()),
        ]
    ),
    key=("question_id", "sample_id"),
)
SCORES = Format(
    "scores",
    pa.schema(
        [
            ("question_id", pa.string()),
            ("sample_id", pa.int64()),
            ("step_scores", _FLOATS),
            ("checkpoint", pa.string()),
        ]
    ),
    key=("question_id", "sample_id"),
    checks={"step_scores": _numbers},
)
METRICS = Format(
    "metrics",
    pa.schema(
        [
            ("policy", pa.string()),
            ("benchmark", pa.string()),
            ("backbone", pa.string()),
            ("method", pa.string()),
            ("aggregation", pa.string()),
            ("seed", pa.int64()),
            ("n", pa.int64()),
            ("question_id", pa.string()),
            ("cluster", pa.string()),
            ("accuracy", pa.float64()),
        ]
    ),
    key=("policy", "benchmark", "backbone", "method", "aggregation", "seed", "n", "question_id"),
)


# File metadata of a table: the solution format that its steps were split with.
_ATTRIBUTES = (b"solution_format",)


def read(path: Path, table_format: Format) -> pd.DataFrame:
    """Read and check a table.

    Raises:
        PqmError: the file is missing, incomplete or empty, a column is missing or has another type, or a row fails a
            check. The message names the file, row and column, and what was expected.
    """
    try:
        table = pq.read_table(path)
    except FileNotFoundError:
        raise PqmError(f"{path}: no such file; expected a {table_format.name} table") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise PqmError(f"{path}: not a complete parquet file, probably truncated while it was written ({error})") from None
    missing = [name for name in table_format.schema.names if name not in table.column_names]
    if missing:
        raise PqmError(
            f"{path}: column {missing[0]!r} is missing; a {table_format.name} table has {', '.join(table_format.schema.names)}"
        )
    attributes = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items() if key in _ATTRIBUTES}
    try:
        table = table.select(table_format.schema.names).cast(table_format.schema)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise PqmError(f"{path}: a column has another type than in a {table_format.name} table ({error})") from None
    frame = table.to_pandas()
    frame.attrs = attributes
    check(frame, table_format, path)
    return frame


def check(frame: pd.DataFrame, table_format: Format, path: Path) -> None:
    """Check that a table is not empty and that its rows follow the format.

    Raises:
        PqmError: the message names the first row with a fault.
    """
    if frame.empty:
        raise PqmError(f"{path}: no rows; expected at least one row of {table_format.name}")

    def place(row: int) -> str:
        if "sample_id" not in table_format.key:
            return f"row {row}"
        return f"row {row} (question {frame['question_id'].iloc[row]!r}, sample {frame['sample_id'].iloc[row]})"

    lists = [column.name for column in table_format.schema if pa.types.is_list(column.type)]
    for column in lists:
        for row, value in enumerate(frame[column]):
            if value is None or isinstance(value, float):
                raise PqmError(f"{path}: {place(row)}, {column}: expected a list, found nothing")
    for column, complaint in table_format.checks.items():
        for row, value in enumerate(frame[column]):
            if message := complaint(value):
                raise PqmError(f"{path}: {place(row)}, {column}: {message}")
    for column in table_format.same_length[1:]:
        first = table_format.same_length[0]
        for row, (expected, found) in enumerate(zip(frame[first], frame[column])):
            if len(expected) != len(found):
                raise PqmError(f"{path}: row {row}: {len(expected)} {first} but {len(found)} {column}; expected the same number")
    keys = frame[list(table_format.key)].map(lambda value: value if isinstance(value, (str, int, float)) else tuple(value))
    twice = keys.duplicated()
    if twice.any():
        key = ", ".join(map(str, keys[twice].iloc[0]))
        raise PqmError(f"{path}: row {int(twice.argmax())}: duplicate key ({key})")


def write(frame: pd.DataFrame, table_format: Format, path: Path) -> None:
    """Check a table and write it atomically, with its `solution_format` attribute.

    Raises:
        PqmError: see `check`; or the disk is full.
    """
    check(frame, table_format, path)
    table = pa.Table.from_pandas(frame[table_format.schema.names], schema=table_format.schema, preserve_index=False)
    table = table.replace_schema_metadata({key: value for key, value in frame.attrs.items() if key.encode() in _ATTRIBUTES})
    with whole_file(path) as part:
        pq.write_table(table, part)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Write a file atomically: the block writes to a temporary path, which is renamed to `path` at the end.

    After an error the temporary file is removed and an earlier `path` stays.

    Raises:
        PqmError: the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with _disk_errors(path):
            yield part
            os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Write a folder atomically, like `whole_file`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
    part.chmod(0o755)
    earlier = part.with_suffix(".earlier.part")
    try:
        with _disk_errors(path):
            yield part
            if path.exists():
                os.replace(path, earlier)
            os.replace(part, path)
    finally:
        if earlier.exists() and not path.exists():
            os.replace(earlier, path)
        for folder in (part, earlier):
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if _disk_is_full(error):
            raise PqmError(f"{path}: no space left while writing; nothing was written, earlier outputs are untouched") from None
        raise


def _disk_is_full(error: BaseException | None) -> bool:
    """Whether a full disk caused an error; torch and safetensors wrap it in their own errors."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if f"(os error {errno.ENOSPC})" in str(error):
            return True
        if "inline_container" in str(error) and "unexpected pos" in str(error):  # torch's writer gives no other hint
            return True
        error = error.__cause__ or error.__context__
    return False
