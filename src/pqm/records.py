"""The rows of published data, wherever they lie: a local file, a data set of the hub, a file that a package carries."""

import hashlib
import importlib.util
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from pqm.config import FileSource, HubSource, PackageSource
from pqm.errors import PqmError
from pqm.published_files import where_to_get

Record = dict[str, Any]
ROWS_A_BATCH = 1000


@dataclass(frozen=True)
class Records:
    """Rows with their numbers (from 0), and where they come from, for messages."""

    origin: str
    rows: Iterator[tuple[int, Record]]


def read_records(source: FileSource | HubSource | PackageSource, published: Path) -> Records:
    """The rows of a source, read while they are asked for.

    Args:
        published: the folder in which relative paths of local files are looked up.

    Raises:
        PqmError: the source is missing, cannot be reached, or holds a row that is no JSON object; the message names it.
    """
    if isinstance(source, HubSource) and source.split is not None:
        from pqm.hub import hub_dataset

        rows = hub_dataset(source.dataset, source.revision, source.split, source.name)
        return Records(f"hub dataset {source.dataset}, split {source.split}", enumerate(rows))
    path = _file(source, published)
    if isinstance(source, FileSource) and not path.exists():
        raise PqmError(f"{path} is missing; get it from {where_to_get(source.format)}")
    return Records(str(path), _parquet(path) if path.suffix == ".parquet" else _json(path))


def _file(source: FileSource | HubSource | PackageSource, published: Path) -> Path:
    if isinstance(source, FileSource):
        return published / source.path
    if isinstance(source, HubSource):
        from pqm.hub import hub_file

        assert source.file is not None, "a source of the hub has a split or a file"
        return hub_file(source.dataset, source.revision, source.file)
    spec = importlib.util.find_spec(source.package)
    if spec is None or not spec.submodule_search_locations:
        raise PqmError(f"package {source.package} is not installed; it carries {source.file}")
    return Path(spec.submodule_search_locations[0], source.file)


def read_json_lines(path: Path) -> Iterator[tuple[int, Record]]:
    """Each line's number (from 0) and object."""
    number = -1
    with _opened(path) as lines:
        for number, line in enumerate(lines):
            try:
                record = json.loads(line)
            except json.JSONDecodeError as error:
                raise PqmError(f"{path}: row {number}: not JSON ({error})") from None
            yield number, _object(record, path, number)
    if number < 0:
        raise PqmError(f"{path}: an empty file; expected one JSON object a line")


def _json(path: Path) -> Iterator[tuple[int, Record]]:
    """JSON lines; or one JSON text: a list of objects, or a single object that spans lines."""
    with _opened(path) as lines:
        first = lines.readline()
    try:
        object_a_line = isinstance(json.loads(first or "{}"), dict)
    except json.JSONDecodeError:
        object_a_line = False
    if object_a_line:
        yield from read_json_lines(path)
        return
    with _opened(path) as lines:
        try:
            whole = json.load(lines)
        except json.JSONDecodeError as error:
            raise PqmError(f"{path}: neither JSON lines nor one JSON text ({error})") from None
    for number, record in enumerate(whole if isinstance(whole, list) else [whole]):
        yield number, _object(record, path, number)


def _parquet(path: Path) -> Iterator[tuple[int, Record]]:
    try:
        with pq.ParquetFile(path) as file:
            rows = (row for batch in file.iter_batches(ROWS_A_BATCH) for row in batch.to_pylist())
            yield from enumerate(rows)
    except FileNotFoundError:
        raise _missing(path) from None
    except (pa.ArrowInvalid, OSError) as error:
        raise PqmError(f"{path}: not a whole parquet file ({error})") from None


def _object(record: Any, path: Path, number: int) -> Record:
    if not isinstance(record, dict):
        raise PqmError(f"{path}: row {number}: expected a JSON object, found {type(record).__name__}")
    return record


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    """The text of a file; a line ends at a line feed only, other separators stand inside texts."""
    try:
        with path.open(encoding="utf-8", newline="\n") as stream:
            yield stream
    except FileNotFoundError:
        raise _missing(path) from None
    except UnicodeDecodeError:
        raise PqmError(f"{path}: not UTF-8 text") from None


def question_hash(question: str) -> str:
    """Twelve hexadecimal digits that published solutions of one question share, whoever wrote them."""
    return hashlib.sha256(question.encode()).hexdigest()[:12]


def _missing(path: Path) -> PqmError:
    return PqmError(f"{path} is missing; expected a file of published data")
