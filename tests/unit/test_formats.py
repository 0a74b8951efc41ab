"""Missing values and types of tables, for every format."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pqm.errors import PqmError
from pqm.io import formats

FORMATS = [formats.QUESTIONS, formats.ROLLOUTS, formats.LABELS, formats.GRADES, formats.SCORES, formats.METRICS]
MAY_BE_NULL = {
    ("questions", "perturbation"),
    ("rollouts", "log_likelihood"),
    ("labels", "answer"),
    ("grades", "answer"),
    ("grades", "rules_correct"),
    ("grades", "first_error"),
    ("scores", "checkpoint"),
}
COLUMNS = [(form, column) for form in FORMATS for column in form.schema.names]
REQUIRED = [(form, column) for form, column in COLUMNS if (form.name, column) not in MAY_BE_NULL]
NULLABLE = [(form, column) for form, column in COLUMNS if (form.name, column) in MAY_BE_NULL]
LISTS = [(form, column) for form, column in COLUMNS if pa.types.is_list(form.schema.field(column).type)]


def named(one):
    return one if isinstance(one, str) else one.name


def rows(form, number=3):
    """Rows that follow the format, with different keys."""

    def value(column, row):
        if column.name == "finish_reason":
            return "stop"
        if pa.types.is_list(column.type):
            return {pa.string(): ["a", f"b{row}"], pa.int64(): [1, 2], pa.float64(): [0.25, 1.0]}[column.type.value_type]
        return {pa.string(): f"text {row}", pa.int64(): row, pa.float64(): 0.25, pa.bool_(): True}[column.type]

    return [{column.name: value(column, row) for column in form.schema} for row in range(number)]


def on_disk(table, form, path):
    """Write rows as another program would, without checks."""
    pq.write_table(pa.Table.from_pylist(table, schema=form.schema), path)
    return path


@pytest.mark.parametrize("form", FORMATS, ids=named)
def test_rows_of_every_format_are_read_as_written(form, tmp_path):
    formats.write(pd.DataFrame(rows(form)), form, tmp_path / "table.parquet")
    found = formats.read(tmp_path / "table.parquet", form)
    assert pa.Table.from_pandas(found, schema=form.schema, preserve_index=False).to_pylist() == rows(form)


@pytest.mark.parametrize(("form", "column"), REQUIRED, ids=named)
def test_a_null_where_a_value_is_needed_is_refused_in_reading_and_writing(form, column, tmp_path):
    table = rows(form)
    table[1][column] = None
    path = tmp_path / "table.parquet"
    if column == "finish_reason":
        assert list(formats.read(on_disk(table, form, path), form)[column]) == ["stop"] * 3
    else:
        with pytest.raises(PqmError, match=rf"{path}: row 1, {column}: expected a (value|list), found nothing"):
            formats.read(on_disk(table, form, path), form)
    for missing in (None, float("nan")):
        frame = pd.DataFrame(rows(form)).astype({column: object})
        frame.at[1, column] = missing
        with pytest.raises(PqmError, match=rf"{tmp_path}/new: row 1, {column}: expected a (value|list), found nothing"):
            formats.write(frame, form, tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(("form", "column"), NULLABLE, ids=named)
def test_a_null_that_is_allowed_is_none_or_for_numbers_nan(form, column, tmp_path):
    table = rows(form)
    table[1][column] = None
    path = on_disk(table, form, tmp_path / "table.parquet")
    kind = form.schema.field(column).type
    for _ in range(2):  # as another program wrote it, and as written here
        frame = formats.read(path, form)
        found = list(frame[column])
        assert [found[0], found[2]] == [table[0][column], table[2][column]]
        assert found[1] is None if kind in (pa.string(), pa.bool_()) else found[1] != found[1]
        formats.write(frame, form, path)
        assert pq.read_table(path)[column].to_pylist() == [row[column] for row in table]


@pytest.mark.parametrize(("form", "column"), NULLABLE, ids=named)
def test_a_column_may_be_null_in_every_row(form, column, tmp_path):
    path = on_disk([row | {column: None} for row in rows(form)], form, tmp_path / "table.parquet")
    assert formats.read(path, form)[column].isna().all()


@pytest.mark.parametrize(("form", "column"), LISTS, ids=named)
def test_a_null_inside_a_list_is_refused(form, column, tmp_path):
    table = rows(form)
    table[2][column] = [table[2][column][0], None]
    path = tmp_path / "table.parquet"
    with pytest.raises(PqmError, match=rf"{path}: row 2.*, {column}: expected .*, found (nothing|nan)"):
        formats.read(on_disk(table, form, path), form)
    with pytest.raises(PqmError, match=rf"{path}: row 2.*, {column}: expected .*"):
        formats.write(pd.DataFrame(table), form, path)


@pytest.mark.parametrize(("form", "column"), COLUMNS, ids=named)
def test_only_the_rules_grade_may_be_absent(form, column, tmp_path):
    table = [{name: value for name, value in row.items() if name != column} for row in rows(form)]
    path = tmp_path / "table.parquet"
    schema = pa.schema([field for field in form.schema if field.name != column])
    pq.write_table(pa.Table.from_pylist(table, schema=schema), path)
    if column == "rules_correct":
        assert list(formats.read(path, form)[column]) == [None] * 3
        formats.write(pd.DataFrame(table), form, path)
        assert pq.read_table(path)[column].to_pylist() == [None] * 3
    else:
        with pytest.raises(PqmError, match=f"column '{column}' is missing"):
            formats.read(path, form)
        with pytest.raises(PqmError, match=f"column '{column}' is missing"):
            formats.write(pd.DataFrame(table), form, path)


def with_values(column, values, path):
    """A grade table with a column of any type."""
    table = pa.Table.from_pylist(rows(formats.GRADES), schema=formats.GRADES.schema)
    place = table.column_names.index(column)
    pq.write_table(table.set_column(place, column, values), path)
    return path


@pytest.mark.parametrize(
    "values",
    [pa.array([1, 0, 1]), pa.array([1.0, 0.0, 1.0]), pa.array(["True", "false", "TRUE"]), pa.array(["1", "0", "1"])],
    ids=["whole numbers", "floats", "words", "digits"],
)
def test_booleans_in_other_types_are_read_right(values, tmp_path):
    assert list(formats.read(with_values("correct", values, tmp_path / "g"), formats.GRADES)["correct"]) == [True, False, True]


@pytest.mark.parametrize(
    "values",
    [pa.array([0.3, 0.0, 1.0]), pa.array([2, 0, 1]), pa.array([1.0, float("nan"), 0.0]), pa.array(["no", "yes", "no"])],
    ids=["shares", "counts", "nan", "other words"],
)
def test_other_values_are_no_booleans(values, tmp_path):
    with pytest.raises(PqmError, match="column 'correct' has another type than in a grades table"):
        formats.read(with_values("correct", values, tmp_path / "g"), formats.GRADES)


def test_known_and_unknown_first_errors_in_one_table_stay_exact(tmp_path):
    path = with_values("first_error", pa.array([2, None, -1]), tmp_path / "g")
    found = formats.read(path, formats.GRADES)["first_error"]
    assert [value for value in found if value == value] == [2, -1]
    formats.write(formats.read(path, formats.GRADES), formats.GRADES, path)
    assert pq.read_table(path)["first_error"].to_pylist() == [2, None, -1]


@pytest.mark.parametrize(
    ("name", "read"), [("EOS", "stop"), ("eos_token", "stop"), ("Max_Tokens", "length"), ("length", "length")]
)
def test_other_names_of_finish_reasons_are_read(name, read, tmp_path):
    table = rows(formats.ROLLOUTS)
    table[1]["finish_reason"] = name
    found = formats.read(on_disk(table, formats.ROLLOUTS, tmp_path / "r"), formats.ROLLOUTS)
    assert list(found["finish_reason"]) == ["stop", read, "stop"]


def test_unknown_finish_reasons_are_refused(tmp_path):
    table = rows(formats.ROLLOUTS)
    table[1]["finish_reason"] = "cancelled"
    with pytest.raises(PqmError, match=r"row 1, finish_reason: .*'cancelled'"):
        formats.read(on_disk(table, formats.ROLLOUTS, tmp_path / "r"), formats.ROLLOUTS)
    with pytest.raises(PqmError, match=r"row 1 .*finish_reason: expected stop or length, found 'cancelled'"):
        formats.write(pd.DataFrame(table), formats.ROLLOUTS, tmp_path / "r")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git-LFS pointer"),
        ("<!DOCTYPE html>", "web page"),
        ("PAR1", "not a complete parquet file"),
    ],
)
def test_files_that_are_no_tables_are_named_for_what_they_are(content, told, tmp_path):
    (tmp_path / "g").write_text(content)
    with pytest.raises(PqmError, match=f"{tmp_path}/g: .*{told}"):
        formats.read(tmp_path / "g", formats.GRADES)


def test_long_values_are_shortened_in_messages(tmp_path):
    long = "x" * 50_000
    twice = [row | {"question_id": long, "sample_id": 0} for row in rows(formats.SCORES)]
    endless = [row | {"question_id": long, "step_scores": [float("inf")]} for row in rows(formats.SCORES)]
    for table in (twice, endless):
        with pytest.raises(PqmError) as error:
            formats.read(on_disk(table, formats.SCORES, tmp_path / "s"), formats.SCORES)
        assert len(str(error.value)) < 500 and "xxx" in str(error.value)
    with pytest.raises(PqmError) as error:
        formats.read(with_values("correct", pa.array([long] * 3), tmp_path / "g"), formats.GRADES)
    assert len(str(error.value)) < 500


def test_the_page_of_formats_says_what_may_be_null():
    page = Path(__file__).parents[2].joinpath("docs/formats.md").read_text()
    for form, column in COLUMNS:
        section = page.split(f"## {form.name}\n", 1)[1].split("\n## ", 1)[0]
        line = next(line for line in section.splitlines() if line.startswith(f"| {column} |"))
        assert ("null" in line) == ((form.name, column) in MAY_BE_NULL), (form.name, column)
