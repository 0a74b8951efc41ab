"""Reading files of published data: harmless differences are accepted, everything else ends in one sentence."""

import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from pqm.errors import PqmError
from pqm.io import formats
from pqm.io.records import read_json, read_json_lines, read_records
from pqm.study.sources import FileSource

BOM = "\ufeff".encode()
ROWS = [{"a": 1}, {"a": "zwei\u2028drei"}, {"a": [3]}]
LINES = [json.dumps(row, ensure_ascii=False).encode() for row in ROWS]
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2\nsize 12345\n"


@pytest.fixture
def file(tmp_path: Path) -> Callable[[bytes], Path]:
    def write(content: bytes, name: str = "rows.jsonl") -> Path:
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    return write


@pytest.mark.parametrize(
    "content",
    [
        b"\n".join(LINES),
        b"\r\n".join(LINES) + b"\r\n",
        b"\n\n".join(LINES) + b"\n\n\n",
        b" \n\t\n" + b"\n \r\n".join(LINES),
        BOM + b"\n".join(LINES),
        BOM + b"\n" + b"\n".join(LINES),
        LINES[0] + b"\n" + BOM + LINES[1] + b"\n" + LINES[2],
    ],
    ids=["plain", "carriage returns", "blank lines", "blank beginning", "mark", "mark on a blank line", "mark between files"],
)
def test_blank_lines_and_byte_order_marks_are_skipped(content, file):
    path = file(content)
    assert list(read_json_lines(path)) == list(read_json(path)) == list(enumerate(ROWS))


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("start", [b"", BOM, b"\n\n", BOM + b"\n"])
def test_one_json_text(start, indent, file):
    assert list(read_json(file(start + json.dumps(ROWS, indent=indent).encode()))) == list(enumerate(ROWS))
    assert list(read_json(file(start + json.dumps(ROWS[0], indent=indent).encode() + b"\n"))) == [(0, ROWS[0])]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (POINTER, "is a git-LFS pointer, not the data; run `git lfs pull`"),
        (b"<!DOCTYPE html>\n<html><body>Sign in</body></html>", "is a web page, not the data; download the file itself"),
        (BOM + b"\n  <HTML lang=en>", "is a web page"),
        (b'<?xml version="1.0"?><Error>', "is a web page"),
        (gzip.compress(b'{"a": 1}\n', mtime=0), "is compressed (gzip)"),
        (b"PK\x03\x04\x14\x00", "is compressed (zip)"),
        (b"", "the file is empty"),
        (b"\n \n", "the file is empty"),
        (b"\xff\xfe{\x00}\x00", "not UTF-8 text"),
        (b'{"a": "\xe4"}\n', "not UTF-8 text"),
    ],
)
@pytest.mark.parametrize("read", [read_json_lines, read_json])
def test_other_content_is_refused(content, words, read, file):
    path = file(content)
    with pytest.raises(PqmError, match=re.escape(f"{path}: {words}")) as error:
        list(read(path))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [(POINTER, "is a git-LFS pointer"), (b"<html>", "is a web page"), (b"PAR1", "not a complete parquet file")],
)
def test_other_content_in_place_of_parquet_is_refused(content, words, file, tmp_path):
    file(content, "rows.parquet")
    records = read_records(FileSource[str](kind="file", format="stepwise", path="rows.parquet"), tmp_path)
    with pytest.raises(PqmError, match=re.escape(f"{tmp_path}/rows.parquet: {words}")):
        list(records.rows)


def test_a_pointer_in_place_of_a_table_is_refused(file):
    path = file(POINTER, "rollouts.parquet")
    with pytest.raises(PqmError, match=re.escape(f"{path}: is a git-LFS pointer")):
        formats.read(path, formats.ROLLOUTS)


def test_a_text_of_a_parquet_file_that_is_not_utf_8_is_refused(file, tmp_path):
    pd.DataFrame({"a": ["zwei" * 5]}).to_parquet(tmp_path / "rows.parquet", compression="none", use_dictionary=False)
    broken = (tmp_path / "rows.parquet").read_bytes().replace(b"zwei" * 5, b"zw\xe4i" * 5)
    file(broken, "rows.parquet")
    records = read_records(FileSource[str](kind="file", format="stepwise", path="rows.parquet"), tmp_path)
    with pytest.raises(PqmError, match=r"rows\.parquet: not a complete parquet file"):
        list(records.rows)


def test_a_folder_is_refused(tmp_path):
    for read in (read_json_lines, read_json):
        with pytest.raises(PqmError, match=re.escape(f"{tmp_path}: cannot be read (Is a directory)")):
            list(read(tmp_path))


@pytest.mark.parametrize(
    "row",
    ['{"q": "half \\ud83d"}', '{"q": ["fine", {"deep": "\\uDE00"}]}', '{"q": {"\\ud800": 1}}', '{"\\udfff": 1}'],
    ids=["text", "nested", "inner key", "key"],
)
def test_half_of_a_surrogate_pair_is_refused_with_its_row(row, file):
    path = file(f'{{"q": "a whole pair: \\ud83d\\ude00"}}\n{row}\n'.encode())
    for read in (read_json_lines, read_json):
        with pytest.raises(PqmError, match=r"row 1, '.*': half of a surrogate pair") as error:
            list(read(path))
        str(error.value).encode()  # the message can be printed


@pytest.mark.parametrize("content", [b'{"a": ' * 100_000, b'{"a": ' + b"1" * 5000 + b"}"], ids=["deep", "long number"])
def test_json_that_python_cannot_read_is_refused(content, file):
    path = file(content)
    with pytest.raises(PqmError, match=re.escape(f"{path}: row 0: not JSON")):
        list(read_json_lines(path))
    with pytest.raises(PqmError, match=re.escape(str(path))):
        list(read_json(path))
