"""The tables that stages exchange: their columns and checks, and atomic writing.

`docs/formats.md` describes the columns; a test compares it with this module.
"""

import errno
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pqm.errors import PqmError, shortened
from pqm.io.finish_reason import finish_reasons
from pqm.io.published_files import stand_in

NO_ANSWER = "None"  # the gold answer of questions that cannot be answered
NO_ERROR = -1  # the first error of a solution without a wrong step
Check = Callable[[Any], str | None]


def _filled(value: Any) -> str | None:
    return None if value.strip() else "expected text, found nothing"


def _ended(value: Any) -> str | None:
    return None if value in ("stop", "length") else f"expected stop or length, found {shortened(value)}"


def _shares(values: Any) -> str | None:
    wrong = [value for value in values if value is None or not 0 <= value <= 1]
    return f"expected labels in [0, 1], found {wrong[0]}" if wrong else None


def _whole(values: Any) -> str | None:
    missing = [place for place, value in enumerate(values) if value is None or value != value]
    return f"expected a value at each place of the list, found nothing at place {missing[0]}" if missing else None


def _numbers(values: Any) -> str | None:
    wrong = [value for value in values if value is None or not math.isfinite(value)]
    return f"expected finite numbers, found {wrong[0]}" if wrong else None


@dataclass(frozen=True)
class Format:
    """A parquet table.

    Attributes:
        name: the name of the format, for messages.
        schema: the arrow schema.
        key: the columns that identify a row.
        may_be_null: columns whose values may be missing. All other columns have a value in every row.
        may_be_absent: columns that a file may lack. They are null then.
        normalised: a function per column, called with the column's values and the file when a table is read.
        checks: a check per column, called with each value.
        same_length: list columns that have the same length in each row.
    """

    name: str
    schema: pa.Schema
    key: tuple[str, ...]
    may_be_null: tuple[str, ...] = ()
    may_be_absent: tuple[str, ...] = ()
    normalised: dict[str, Callable[[Iterable[object], Path], list[str]]] = field(default_factory=dict)
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
    may_be_null=("perturbation",),
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
    may_be_null=("log_likelihood",),
    normalised={"finish_reason": finish_reasons},
    checks={"finish_reason": _ended},
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
    may_be_null=("answer",),
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
            ("rules_correct", pa.bool_()),
            ("first_error", pa.int64()),
        ]
    ),
    key=("question_id", "sample_id"),
    may_be_null=("answer", "rules_correct", "first_error"),
    may_be_absent=("rules_correct",),
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
    may_be_null=("checkpoint",),
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


# File metadata of a table: the solution format that its steps were split with, and the scale of its scores.
_ATTRIBUTES = ("solution_format", "scale")


def read(path: Path, table_format: Format) -> pd.DataFrame:
    """Read and check a table.

    Missing texts and booleans become None, missing numbers NaN.

    Raises:
        PqmError: the file is missing, incomplete or empty, a column is missing or has another type, or a row fails a
            check. The message names the file, row and column, and what was expected.
    """
    try:
        table = pq.read_table(path)
    except FileNotFoundError:
        raise PqmError(f"{path}: no such file; expected a {table_format.name} table") from None
    except (pa.ArrowInvalid, OSError) as error:
        other = f"not a complete parquet file, probably truncated while it was written ({error})"
        raise PqmError(f"{path}: {stand_in(path) or other}") from None
    metadata = table.schema.metadata or {}
    table = _cast(table, table_format, path)
    frame = table.to_pandas()
    for column in table_format.schema:
        if table[column.name].null_count and (pa.types.is_string(column.type) or pa.types.is_boolean(column.type)):
            frame[column.name] = pd.Series(table[column.name].to_pylist(), dtype=object)  # pandas has NaN for a missing text
    for name, normal in table_format.normalised.items():
        frame[name] = normal(frame[name], path)
    frame.attrs = {name: metadata[name.encode()].decode() for name in _ATTRIBUTES if name.encode() in metadata}
    check(frame, table_format, path)
    return frame


def _cast(table: pa.Table, table_format: Format, path: Path) -> pa.Table:
    """The columns of the format with its types."""
    _expect_columns(table.column_names, table_format, path)
    columns = []
    for column in table_format.schema:
        if column.name not in table.column_names:
            columns.append(pa.nulls(len(table), column.type))
            continue
        found = table[column.name]
        try:
            if pa.types.is_boolean(column.type) and (pa.types.is_integer(found.type) or pa.types.is_floating(found.type)):
                found = found.cast(pa.int64()).cast(pa.string())  # of numbers, only 1 and 0 are booleans
            columns.append(found.cast(column.type))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise PqmError(
                f"{path}: column {column.name!r} has another type than in a {table_format.name} table"
                f" ({found.type}, expected {column.type}: {shortened(str(error))})"
            ) from None
    return pa.table(columns, schema=table_format.schema)


def _expect_columns(found: Iterable[str], table_format: Format, path: Path) -> None:
    names = [name for name in table_format.schema.names if name not in table_format.may_be_absent]
    missing = [name for name in names if name not in found]
    if missing:
        raise PqmError(f"{path}: column {missing[0]!r} is missing; a {table_format.name} table has {', '.join(names)}")


def check(frame: pd.DataFrame, table_format: Format, path: Path) -> None:
    """Check that a table has all columns, is not empty and that its rows follow the format.

    Raises:
        PqmError: the message names the first row with a fault.
    """
    _expect_columns(frame.columns, table_format, path)
    if frame.empty:
        raise PqmError(f"{path}: no rows; expected at least one row of {table_format.name}")
    for column in table_format.schema:
        if column.name not in (*table_format.may_be_null, *table_format.may_be_absent):
            missing = frame[column.name].isna().to_numpy()
            if missing.any():
                kind = "a list" if pa.types.is_list(column.type) else "a value"
                raise PqmError(f"{path}: row {int(missing.argmax())}, {column.name}: expected {kind}, found nothing")

    def place(row: int) -> str:
        if "sample_id" not in table_format.key:
            return f"row {row}"
        return f"row {row} (question {shortened(frame['question_id'].iloc[row])}, sample {frame['sample_id'].iloc[row]})"

    lists = [column.name for column in table_format.schema if pa.types.is_list(column.type)]
    for column, complaint in [*table_format.checks.items(), *((name, _whole) for name in lists)]:
        values = frame[column].to_numpy(dtype=object)
        if complaint in (_whole, _numbers) and _all_finite(values):
            continue
        for row, value in enumerate(values):
            if message := complaint(value):
                raise PqmError(f"{path}: {place(row)}, {column}: {message}")
    for column in table_format.same_length[1:]:
        first = table_format.same_length[0]
        for row, (expected, found) in enumerate(zip(frame[first], frame[column])):
            if len(expected) != len(found):
                raise PqmError(f"{path}: row {row}: {len(expected)} {first} but {len(found)} {column}; expected the same number")
    keys = pd.DataFrame({name: frame[name].map(tuple) if name in lists else frame[name] for name in table_format.key})
    twice = keys.duplicated()
    if twice.any():
        key = keys[twice].iloc[0]
        same = int((keys == key).all(axis=1).argmax())
        names = ", ".join(f"{name} {shortened(value)}" for name, value in key.items())
        raise PqmError(f"{path}: row {int(twice.argmax())}: duplicate key, the same as row {same} ({names})")


def _all_finite(lists: NDArray[np.object_]) -> bool:
    """Whether the lists have only finite numbers; all together, because one list after the other takes ten times as long."""
    values = np.concatenate(lists)
    return values.dtype.kind in "fiu" and bool(np.isfinite(values).all())


def write(frame: pd.DataFrame, table_format: Format, path: Path) -> None:
    """Check a table and write it atomically, with its attributes `solution_format` and `scale`.

    Raises:
        PqmError: see `check`; or the disk is full.
    """
    check(frame, table_format, path)
    table = pa.Table.from_pandas(
        frame.reindex(columns=table_format.schema.names), schema=table_format.schema, preserve_index=False
    )
    table = table.replace_schema_metadata({key: value for key, value in frame.attrs.items() if key in _ATTRIBUTES})
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
            _put_folder(part, path, earlier)
    finally:
        if earlier.exists() and not path.exists():
            os.replace(earlier, path)
        for folder in (part, earlier):
            shutil.rmtree(folder, ignore_errors=True)


def _put_folder(part: Path, path: Path, earlier: Path) -> None:
    """Rename `part` to `path`. A folder that is there, perhaps one that another process put there just now, is moved aside."""
    while True:
        try:
            os.replace(part, path)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        shutil.rmtree(earlier, ignore_errors=True)
        with suppress(FileNotFoundError):
            os.replace(path, earlier)


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
