"""Rows of published data from a local file, a data set of the hub, or a file inside a package."""

import importlib.util
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from pqm.errors import PqmError, shortened
from pqm.io.published_files import missing_file, stand_in
from pqm.study.sources import FileSource, HubSource, PackageSource

Record = dict[str, Any]
ROWS_PER_BATCH = 1000


@dataclass(frozen=True)
class Records:
    """Rows with their numbers (from 0), and the name of their source, for messages."""

    origin: str
    rows: Iterator[tuple[int, Record]]


def read_records(source: FileSource | HubSource | PackageSource, published: Path) -> Records:
    """The rows of a source, read lazily.

    Args:
        published: the folder at which relative paths of local files start.

    Raises:
        PqmError: the source is missing or cannot be reached, or a row is no JSON object; the message names it.
    """
    if isinstance(source, HubSource) and source.split is not None:
        from pqm.io.hub import hub_dataset

        rows = hub_dataset(source.dataset, source.revision, source.split, source.name)
        return Records(f"hub dataset {source.dataset}, split {source.split}", enumerate(rows))
    path = _file(source, published)
    if isinstance(source, FileSource) and not path.exists():
        raise PqmError(missing_file(path, source.format))
    return Records(str(path), _parquet(path) if path.suffix == ".parquet" else read_json(path))


def _file(source: FileSource | HubSource | PackageSource, published: Path) -> Path:
    if isinstance(source, FileSource):
        return published / source.path
    if isinstance(source, HubSource):
        from pqm.io.hub import hub_file

        assert source.file is not None, "a hub source has a split or a file"
        return hub_file(source.dataset, source.revision, source.file)
    spec = importlib.util.find_spec(source.package)
    if spec is None or not spec.submodule_search_locations:
        raise PqmError(f"package {source.package} is not installed; it contains {source.file}")
    return Path(spec.submodule_search_locations[0], source.file)


def read_json_lines(path: Path) -> Iterator[tuple[int, Record]]:
    """Each row's number (from 0) and object; blank lines have no number."""
    number = -1
    with _opened(path) as lines:
        for number, line in enumerate(filter(None, map(_stripped, lines))):
            try:
                record = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise PqmError(f"{path}: row {number}: not JSON ({error})") from None
            yield number, _object(record, path, number)
    if number < 0:
        raise PqmError(f"{path}: the file is empty; expected one JSON object per line")


def read_json(path: Path) -> Iterator[tuple[int, Record]]:
    """Read JSON lines, or one JSON text: a list of objects, or a single object over several lines."""
    with _opened(path) as lines:
        first = next(filter(None, map(_stripped, lines)), "{}")
    try:
        object_per_line = isinstance(json.loads(first), dict)
    except (ValueError, RecursionError):
        object_per_line = False
    if object_per_line:
        yield from read_json_lines(path)
        return
    with _opened(path) as lines:
        try:
            whole = json.loads(_stripped(lines.read()))
        except (ValueError, RecursionError) as error:
            raise PqmError(f"{path}: neither JSON lines nor one JSON text ({error})") from None
    for number, record in enumerate(whole if isinstance(whole, list) else [whole]):
        yield number, _object(record, path, number)


def _parquet(path: Path) -> Iterator[tuple[int, Record]]:
    try:
        _refuse_stand_in(path)
        with pq.ParquetFile(path) as file:
            rows = (row for batch in file.iter_batches(ROWS_PER_BATCH) for row in batch.to_pylist())
            yield from enumerate(rows)
    except FileNotFoundError:
        raise _missing(path) from None
    except (pa.ArrowInvalid, OSError, UnicodeDecodeError) as error:
        raise PqmError(f"{path}: not a complete parquet file ({error})") from None


def _stripped(text: str) -> str:
    """A text without the white space around it, and without a byte-order mark."""
    return text.strip("\ufeff \t\r\n")


def _object(record: Any, path: Path, number: int) -> Record:
    if not isinstance(record, dict):
        raise PqmError(f"{path}: row {number}: expected a JSON object, found {type(record).__name__}")
    for key, value in record.items():
        if not _is_unicode([key, value]):
            raise PqmError(
                f"{path}: row {number}, {shortened(key)}: half of a surrogate pair (\\ud800 to \\udfff) is no character"
            )
    return record


def _is_unicode(value: Any) -> bool:
    """Whether every text in a JSON value can be written to a file; JSON can also contain halves of surrogate pairs."""
    if isinstance(value, str):
        return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)
    if isinstance(value, dict):
        return all(_is_unicode(key) and _is_unicode(item) for key, item in value.items())
    return not isinstance(value, list) or all(map(_is_unicode, value))


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    """Open a text file; only a line feed ends a line, because texts may contain other separators."""
    try:
        _refuse_stand_in(path)
        with path.open(encoding="utf-8", newline="\n") as stream:
            yield stream
    except FileNotFoundError:
        raise _missing(path) from None
    except UnicodeDecodeError:
        raise PqmError(f"{path}: not UTF-8 text") from None
    except OSError as error:
        raise PqmError(f"{path}: cannot be read ({error.strerror})") from None


def _refuse_stand_in(path: Path) -> None:
    if found := stand_in(path):
        raise PqmError(f"{path}: {found}")


def _missing(path: Path) -> PqmError:
    return PqmError(f"{path} is missing; expected a file of published data")
