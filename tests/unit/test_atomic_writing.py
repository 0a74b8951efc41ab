"""Files and folders are written atomically."""

import pytest
from interruptions import Killed, content

from pqm.errors import PqmError
from pqm.io import formats


@pytest.mark.parametrize("complaint", [Killed, KeyboardInterrupt, ValueError])
def test_file_is_written_whole_or_not_at_all(complaint, tmp_path):
    path = tmp_path / "inner" / "table"
    with pytest.raises(complaint), formats.whole_file(path) as part:
        part.write_text("half")
        raise complaint
    assert list(path.parent.iterdir()) == []


def test_earlier_file_stays_where_writing_fails(tmp_path):
    path = tmp_path / "table"
    path.write_text("earlier")
    with pytest.raises(Killed), formats.whole_file(path) as part:
        part.write_text("half")
        assert path.read_text() == "earlier"
        raise Killed
    assert content(tmp_path) == {"table": b"earlier"}


def test_file_replaces_the_earlier_one(tmp_path):
    path = tmp_path / "table"
    path.write_text("earlier")
    with formats.whole_file(path) as part:
        part.write_text("later")
    assert content(tmp_path) == {"table": b"later"}


@pytest.mark.parametrize("complaint", [Killed, KeyboardInterrupt, ValueError])
def test_folder_is_written_whole_or_not_at_all(complaint, tmp_path):
    path = tmp_path / "inner" / "model"
    with pytest.raises(complaint), formats.whole_folder(path) as part:
        (part / "weights").write_text("half")
        raise complaint
    assert list(path.parent.iterdir()) == []


def test_earlier_folder_stays_where_writing_fails(tmp_path):
    path = tmp_path / "model"
    path.mkdir()
    (path / "weights").write_text("earlier")
    with pytest.raises(Killed), formats.whole_folder(path) as part:
        (part / "weights").write_text("half")
        raise Killed
    assert content(tmp_path) == {"model/weights": b"earlier"}
    assert list(tmp_path.iterdir()) == [path]


def test_folder_replaces_the_earlier_one_and_what_it_held(tmp_path):
    path = tmp_path / "model"
    path.mkdir()
    (path / "old").write_text("earlier")
    with formats.whole_folder(path) as part:
        (part / "weights").write_text("later")
    assert content(tmp_path) == {"model/weights": b"later"}
    assert list(tmp_path.iterdir()) == [path]


def test_wrong_table_is_not_written(tmp_path, tables):
    path = tmp_path / "scores.parquet"
    path.write_text("earlier")
    frame = formats.read(tables.scores, formats.SCORES)
    frame.at[1, "step_scores"] = [float("nan")]
    with pytest.raises(PqmError, match="row 1"):
        formats.write(frame, formats.SCORES, path)
    assert content(tmp_path) == {"scores.parquet": b"earlier"}
