"""A full disk gives a message of one sentence, and earlier outputs are kept."""

import errno
import os
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from safetensors import SafetensorError
from verbs import NO_SPACE, ROLLOUTS, grade_verb, parts_below, sample_verb

from pqm.errors import PqmError
from pqm.io import formats


def full(*arguments: Any, **options: Any) -> None:
    """Write a few bytes, then fail with a full disk."""
    for argument in arguments:
        if isinstance(argument, Path):
            argument.write_bytes(b"half a ta")
    raise NO_SPACE


@pytest.fixture
def earlier(out: Path) -> Path:
    out.parent.mkdir(parents=True)
    out.write_bytes(b"earlier")
    return out


@pytest.mark.parametrize("broken", ["pyarrow.parquet.write_table", "os.replace"])
def test_no_space_for_a_table(broken, run_cli, tables, earlier, monkeypatch, tmp_path):
    monkeypatch.setattr(broken, full if "table" in broken else lambda *_: (_ for _ in ()).throw(NO_SPACE))
    code, text = run_cli(*grade_verb(tables.questions, tables.rollouts, earlier))
    assert code == 1
    assert text.startswith(f"pqm: {earlier}") and "no space left" in text and len(text.splitlines()) == 1
    assert earlier.read_bytes() == b"earlier"
    assert list(earlier.parent.iterdir()) == [earlier] and parts_below(tmp_path) == []


def test_no_quota_for_a_table(run_cli, tables, earlier, monkeypatch):
    monkeypatch.setattr(pq, "write_table", lambda *_: (_ for _ in ()).throw(OSError(errno.EDQUOT, "Disk quota exceeded")))
    code, text = run_cli(*grade_verb(tables.questions, tables.rollouts, earlier))
    assert code == 1 and "no space left" in text and earlier.read_bytes() == b"earlier"


def test_no_space_for_a_shard(refuses, settings, tables, policy, monkeypatch, out):
    monkeypatch.setattr(pd.DataFrame, "to_pickle", lambda frame, path: full(path))
    verb = sample_verb(settings("rollouts", **ROLLOUTS), tables, policy, out)
    refuses(*verb, says=("no space left",))


@pytest.fixture
def earlier_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "out" / "model"
    folder.mkdir(parents=True)
    (folder / "weights").write_text("earlier")
    return folder


def untouched(folder: Path) -> bool:
    return [path.name for path in folder.parent.iterdir()] == [folder.name] and (folder / "weights").read_text() == "earlier"


def test_no_space_within_a_folder(earlier_folder):
    with pytest.raises(PqmError, match=f"{earlier_folder}: no space left"), formats.whole_folder(earlier_folder) as part:
        (part / "weights").write_text("later")
        raise NO_SPACE
    assert untouched(earlier_folder)


def test_no_space_for_the_rename_of_a_folder(earlier_folder, monkeypatch):
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(NO_SPACE))
    with pytest.raises(PqmError, match="no space left"), formats.whole_folder(earlier_folder) as part:
        (part / "weights").write_text("later")
    assert untouched(earlier_folder)


def torch_on_a_full_disk(content: Any, target: Any, **options: Any) -> None:
    """The error of torch.save is no OSError, and has one in its context only if it writes to an open file."""
    complaint = "[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534"
    if isinstance(target, (str, Path)):
        raise RuntimeError(complaint)
    try:
        raise NO_SPACE
    except OSError:
        raise RuntimeError(complaint)  # noqa: B904


def test_no_space_for_the_weights_of_a_model(earlier_folder):
    complaint = SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
    with pytest.raises(PqmError, match="no space left"), formats.whole_folder(earlier_folder) as part:
        (part / "weights").write_text("later")
        raise complaint
    assert untouched(earlier_folder)


def test_no_space_for_the_state_of_a_training(refuses, train_verb, monkeypatch):
    monkeypatch.setattr(torch, "save", torch_on_a_full_disk)
    refuses(*train_verb(), says=("state-", "no space left"))


def test_other_errors_are_not_called_lack_of_space(earlier_folder):
    with pytest.raises(PermissionError), formats.whole_folder(earlier_folder):
        raise PermissionError(errno.EACCES, "Permission denied")
    assert untouched(earlier_folder)
