"""The shard cache: which shards are kept and used again."""

import re
import shutil
import sys
import types
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from interruptions import Killed, killed_after
from small import write_yaml

from pqm.io import formats, shard_cache
from pqm.io.shard_cache import ShardCache
from pqm.models.sampling.transformers_engine import TransformersEngine
from pqm.rollouts.sample import make_rollouts
from pqm.study.rollouts import RolloutsConfig

ROLLOUTS = RolloutsConfig(samples=2, temperature=1.0, max_new_tokens=6, questions_per_batch=2, seed=0)
OUT = Path("data/out.parquet")  # what shard caches are named after


# ---------------------------------------------------------------- shards


def rows_of(item: int) -> list[dict[str, Any]]:
    return [{"item": item, "part": part, "text": f"{item}.{part}"} for part in range(item)]


def test_finished_shards_are_not_computed_again(tmp_path):
    made: list[int] = []

    def make(item: int, dies_at: int | None) -> list[dict[str, Any]]:
        if item == dies_at:
            raise Killed
        made.append(item)
        return rows_of(item)

    items = [3, 1, 0, 2, 4]
    with pytest.raises(Killed):
        ShardCache(tmp_path / "a", "stage", OUT, [], []).table_by_shards(items, lambda item: make(item, 2), "title", "shard")
    assert made == [3, 1, 0]
    resumed = ShardCache(tmp_path / "a", "stage", OUT, [], []).table_by_shards(
        items, lambda item: make(item, None), "title", "shard"
    )
    assert made == items
    whole = ShardCache(tmp_path / "b", "stage", OUT, [], []).table_by_shards(items, rows_of, "title", "shard")
    pd.testing.assert_frame_equal(resumed, whole)
    assert resumed["item"].tolist() == [3, 3, 3, 1, 2, 2, 4, 4, 4, 4]


def test_a_shard_that_was_interrupted_while_written_is_computed_again(tmp_path, monkeypatch):
    def cut(frame: pd.DataFrame, path: Path) -> None:
        path.write_bytes(b"half")
        raise Killed

    folder = ShardCache(tmp_path, "stage", OUT, [], [])
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(pd.DataFrame, "to_pickle", cut)
        folder.table_by_shards([1, 2], rows_of, "title", "shard")
    assert list(folder.path.iterdir()) == []
    assert len(folder.table_by_shards([1, 2], rows_of, "title", "shard")) == 3


def test_shards_without_rows_make_an_empty_table(tmp_path):
    assert ShardCache(tmp_path, "stage", OUT, [], []).table_by_shards([0, 0], rows_of, "title", "shard").empty


def test_interrupted_rollouts_equal_uninterrupted_ones(tmp_path, policy, tables, monkeypatch):
    def folder(name: str) -> ShardCache:
        return ShardCache(tmp_path / name, "rollouts", OUT, [ROLLOUTS], [policy, tables.questions])

    whole = make_rollouts(ROLLOUTS, policy, tables.questions, folder("whole"))
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(TransformersEngine, "sample", killed_after(2, TransformersEngine.sample))
        make_rollouts(ROLLOUTS, policy, tables.questions, folder("cut"))
    assert len(list(folder("cut").path.iterdir())) == 1
    pd.testing.assert_frame_equal(make_rollouts(ROLLOUTS, policy, tables.questions, folder("cut")), whole)
    assert len(whole) == 12


# ---------------------------------------------------------------- keys


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "input.bin"
    path.write_bytes(b"one")
    return path


def key(root: Path, settings: list[Any], inputs: list[Path], stage: str = "stage") -> Path:
    return ShardCache(root, stage, OUT, settings, inputs).path


def test_same_settings_inputs_and_code_same_shard_cache(tmp_path, table):
    assert key(tmp_path, [ROLLOUTS, "a"], [table]) == key(tmp_path, [ROLLOUTS.model_copy(), "a"], [table])


def test_other_settings_other_shard_cache(tmp_path, table):
    first = key(tmp_path, [ROLLOUTS, "a"], [table])
    for name in RolloutsConfig.model_fields:
        other = ROLLOUTS.model_copy(update={name: (getattr(ROLLOUTS, name) or 0) + 1})
        assert key(tmp_path, [other, "a"], [table]) != first
    assert key(tmp_path, [ROLLOUTS, "b"], [table]) != first
    assert key(tmp_path, [ROLLOUTS, "a"], [table], "other") != first


def test_other_input_bytes_other_shard_cache(tmp_path, table):
    first = key(tmp_path, [ROLLOUTS], [table])
    table.write_bytes(b"two")
    assert key(tmp_path, [ROLLOUTS], [table]) != first


def test_other_place_of_the_same_input_same_shard_cache(tmp_path, table):
    other = tmp_path / "elsewhere.bin"
    shutil.copy(table, other)
    assert key(tmp_path, [ROLLOUTS], [table]) == key(tmp_path, [ROLLOUTS], [other])


@pytest.mark.parametrize("change", ["content", "name", "more"])
def test_other_input_folder_other_shard_cache(change, tmp_path):
    folder = tmp_path / "model"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "weights").write_bytes(b"one")
    first = key(tmp_path, [], [folder])
    if change == "content":
        (folder / "inner" / "weights").write_bytes(b"two")
    elif change == "name":
        (folder / "inner" / "weights").rename(folder / "inner" / "other")
    else:
        (folder / "more").touch()
    assert key(tmp_path, [], [folder]) != first


def test_other_code_other_shard_cache(tmp_path, table, monkeypatch):
    first = key(tmp_path, [ROLLOUTS], [table])
    monkeypatch.setattr(shard_cache, "code_hash", lambda: "other code")
    assert key(tmp_path, [ROLLOUTS], [table]) != first


def test_code_hash_is_of_the_modules_that_are_loaded(tmp_path, monkeypatch):
    module = types.ModuleType("pqm.made_up")
    module.__file__ = str(tmp_path / "made_up.py")
    (tmp_path / "made_up.py").write_text("a = 1\n")
    without = shard_cache.code_hash.__wrapped__()
    monkeypatch.setitem(sys.modules, "pqm.made_up", module)
    first = shard_cache.code_hash.__wrapped__()
    (tmp_path / "made_up.py").write_text("a = 2\n")
    assert len({without, first, shard_cache.code_hash.__wrapped__()}) == 3
    monkeypatch.setitem(sys.modules, "pqmore", sys.modules.pop("pqm.made_up"))
    assert shard_cache.code_hash.__wrapped__() == without


# ---------------------------------------------------------------- one folder per output


def test_a_shard_cache_is_named_after_its_output(tmp_path):
    path = ShardCache(tmp_path, "rollouts", Path("data/demo/rollouts/weak/test.parquet"), [], []).path
    assert path.parent == tmp_path / "rollouts" and re.fullmatch("test.parquet-[0-9a-f]{8}@[0-9a-f]{16}", path.name)
    long = ShardCache(tmp_path, "rollouts", Path("/elsewhere", *["deep"] * 90, "out.parquet"), [], []).path
    assert re.fullmatch("out.parquet-[0-9a-f]{8}@[0-9a-f]{16}", long.name)


def test_shards_that_an_earlier_try_left_with_another_key_are_removed(tmp_path, table, capsys):
    first = key(tmp_path, ["a"], [table])
    (first / "shard-000000.pickle").touch()
    second = key(tmp_path, ["b"], [table])
    assert second.exists() and not first.exists()
    assert f"removed {first}: its settings, inputs or code have changed" in capsys.readouterr().err


def test_shards_of_the_same_key_of_other_outputs_and_of_other_stages_are_kept(tmp_path, table):
    def folder(stage: str, output: str, setting: str = "a") -> Path:
        return ShardCache(tmp_path, stage, Path(output), [setting], [table]).path

    kept = [
        folder("stage", "data/out"),
        folder("stage", "data/out[x]"),
        folder("stage", "data/out-2"),
        folder("other", "data/out"),
    ]
    for path in kept:
        (path / "shard-000000.pickle").touch()
    removed = folder("stage", "data/x")
    assert folder("stage", "data/x", "b").exists() and not removed.exists()
    assert folder("stage", "data/out") == kept[0]
    assert all((path / "shard-000000.pickle").exists() for path in kept)
    assert folder("stage", "data/out[x]", "b") != kept[1]
    assert [path.exists() for path in kept] == [True, False, True, True]


@pytest.mark.parametrize(
    ("one", "other"), [("weak/a-test.parquet", "weak-a/test.parquet"), ("model-0.1", "model-0.2")], ids=["dashes", "dots"]
)
def test_another_output_keeps_its_shards(one, other, tmp_path, table):
    kept = ShardCache(tmp_path, "stage", Path(one), [one], [table]).path
    ShardCache(tmp_path, "stage", Path(other), [other], [table])
    assert kept.exists()


def test_shards_are_kept_in_a_folder_of_the_study(run_cli, tables, policy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_yaml(Path("config/mine/study.yaml"), {"rollouts": {"tiny": ROLLOUTS.model_dump()}})
    monkeypatch.setattr(TransformersEngine, "sample", killed_after(2, TransformersEngine.sample))
    verb = ["rollouts", "sample", "config/mine/study.yaml", "tiny", "--policy", policy, "--questions", tables.questions]
    with pytest.raises(Killed):
        run_cli(*verb, "--output", "data/mine/rollouts/weak/tiny.parquet")
    [shard] = [path for path in tmp_path.rglob("*") if path.name.startswith("shard")]
    assert shard.relative_to(tmp_path).as_posix().startswith(".work/mine/rollouts/tiny.parquet-")


def test_a_verb_continues_after_a_change_of_another_item(run_cli, write_study, tables, policy, tmp_path, monkeypatch):
    """The shards of an item are kept as long as its own settings stay, even if the study changes."""
    inputs = ["--policy", policy, "--questions", tables.questions, "--cache", tmp_path / "cache"]
    mine, made = ROLLOUTS.model_dump(), []
    sample = TransformersEngine.sample
    monkeypatch.setattr(TransformersEngine, "sample", lambda *given: (made.append(1), sample(*given))[1])

    def run(**rollouts: Any) -> int:
        study = write_study(rollouts=rollouts)
        return run_cli("rollouts", "sample", study, "mine", "--output", tmp_path / "rollouts.parquet", *inputs)[0]

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(TransformersEngine, "sample", killed_after(2, TransformersEngine.sample))
        run(mine=mine)
    made.clear()
    assert run(mine=mine, other=mine | {"seed": 9}) == 0
    assert len(made) == 2  # of three shards one was finished


def test_finish_leaves_no_shard_cache(tmp_path):
    folder = ShardCache(tmp_path, "stage", OUT, [], [])
    folder.table_by_shards([1, 2], rows_of, "title", "shard")
    assert len(list(folder.path.iterdir())) == 2
    folder.finish()
    assert not folder.path.exists()


def test_finished_verb_leaves_no_shards(run_cli, settings, tables, policy, tmp_path):
    config, output = settings("rollouts", **ROLLOUTS.model_dump()), tmp_path / "rollouts.parquet"
    inputs = ["--policy", policy, "--questions", tables.questions, "--cache", tmp_path / "cache"]
    assert run_cli("rollouts", "sample", config, "--output", output, *inputs)[0] == 0
    assert len(formats.read(output, formats.ROLLOUTS)) == 12
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file() or path.parent.name == "rollouts"] == []
    assert list(tmp_path.rglob("*.part")) == []
