import re
import shutil
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from small import TRAINING as SHORT
from small import write_yaml

import pqm.policies.pretraining as pretraining_stage
import pqm.train as train_stage
from pqm import formats, work
from pqm.config import Architecture, Phase, PretrainingConfig, RolloutsConfig, RunConfig
from pqm.errors import PqmError
from pqm.policies.pretraining import pretrain
from pqm.rollouts import make_rollouts, transformers_engine
from pqm.train import train
from pqm.work import WorkFolder, checkpoint_hash

ROLLOUTS = RolloutsConfig(samples=2, temperature=1.0, max_new_tokens=6, questions_per_batch=2, seed=0)
OUT = Path("data/out.parquet")  # what work folders are named after
RUN = RunConfig(loss="pqm", zeta=4.0, labels="tiny", backbone="tiny")
TRAINING = SHORT.model_copy(update={"epochs": 4.0, "batch_tokens": 256, "checkpoint_every": 4})
PRETRAINING = PretrainingConfig(
    architecture=Architecture(
        hidden_size=32,
        intermediate_size=32,
        layers=2,
        heads=2,
        key_value_heads=1,
        max_positions=160,
        initializer_range=0.06,
        rope_theta=1000.0,
        attention_bias=1.0,
    ),
    phases=(
        Phase(steps=8, learning_rate=1e-2, warmup_steps=2, facts=(1, 1)),
        Phase(
            steps=4,
            learning_rate=1e-2,
            warmup_steps=2,
            facts=(1, 2),
            slipped_share=1.0,
            slip_chance=0.5,
            token_mark_weight=1.0,
            token_mark_layer=1,
            step_mark_weight=1.0,
        ),
    ),
    snapshot_every=4,
    batch_tokens=256,
    distraction_share=0.25,
    excluded=("questions",),
    validation="questions",
    max_new_tokens=12,
    seed=0,
)


class Killed(BaseException):
    pass


def killed_after(count: int, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, which does its `count`-th call in full and then dies."""
    calls = 0

    def call(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        result = function(*arguments, **options)
        if calls == count:
            raise Killed
        return result

    return call


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


# ---------------------------------------------------------------- shards


def rows_of(item: int) -> list[dict[str, Any]]:
    return [{"item": item, "part": part, "text": f"{item}.{part}"} for part in range(item)]


def test_finished_shards_are_not_made_again(tmp_path):
    made: list[int] = []

    def make(item: int, dies_at: int | None) -> list[dict[str, Any]]:
        if item == dies_at:
            raise Killed
        made.append(item)
        return rows_of(item)

    items = [3, 1, 0, 2, 4]
    with pytest.raises(Killed):
        WorkFolder(tmp_path / "a", "stage", OUT, [], []).table_by_shards(items, lambda item: make(item, 2), "title", "shard")
    assert made == [3, 1, 0]
    resumed = WorkFolder(tmp_path / "a", "stage", OUT, [], []).table_by_shards(
        items, lambda item: make(item, None), "title", "shard"
    )
    assert made == items
    whole = WorkFolder(tmp_path / "b", "stage", OUT, [], []).table_by_shards(items, rows_of, "title", "shard")
    pd.testing.assert_frame_equal(resumed, whole)
    assert resumed["item"].tolist() == [3, 3, 3, 1, 2, 2, 4, 4, 4, 4]


def test_shard_that_was_cut_while_it_was_written_is_made_again(tmp_path, monkeypatch):
    def cut(frame: pd.DataFrame, path: Path) -> None:
        path.write_bytes(b"half")
        raise Killed

    folder = WorkFolder(tmp_path, "stage", OUT, [], [])
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(pd.DataFrame, "to_pickle", cut)
        folder.table_by_shards([1, 2], rows_of, "title", "shard")
    assert list(folder.path.iterdir()) == []
    assert len(folder.table_by_shards([1, 2], rows_of, "title", "shard")) == 3


def test_shards_without_rows_make_an_empty_table(tmp_path):
    assert WorkFolder(tmp_path, "stage", OUT, [], []).table_by_shards([0, 0], rows_of, "title", "shard").empty


def test_interrupted_rollouts_equal_uninterrupted_ones(tmp_path, policy, tables, monkeypatch):
    def folder(name: str) -> WorkFolder:
        return WorkFolder(tmp_path / name, "rollouts", OUT, [ROLLOUTS], [policy, tables.questions])

    whole = make_rollouts(ROLLOUTS, policy, tables.questions, folder("whole"))
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(transformers_engine, "sample", killed_after(2, transformers_engine.sample))
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
    return WorkFolder(root, stage, OUT, settings, inputs).path


def test_same_settings_inputs_and_code_same_work_folder(tmp_path, table):
    assert key(tmp_path, [ROLLOUTS, "a"], [table]) == key(tmp_path, [ROLLOUTS.model_copy(), "a"], [table])


def test_other_settings_other_work_folder(tmp_path, table):
    first = key(tmp_path, [ROLLOUTS, "a"], [table])
    for name in RolloutsConfig.model_fields:
        other = ROLLOUTS.model_copy(update={name: (getattr(ROLLOUTS, name) or 0) + 1})
        assert key(tmp_path, [other, "a"], [table]) != first
    assert key(tmp_path, [ROLLOUTS, "b"], [table]) != first
    assert key(tmp_path, [ROLLOUTS, "a"], [table], "other") != first


def test_other_input_bytes_other_work_folder(tmp_path, table):
    first = key(tmp_path, [ROLLOUTS], [table])
    table.write_bytes(b"two")
    assert key(tmp_path, [ROLLOUTS], [table]) != first


def test_other_place_of_the_same_input_same_work_folder(tmp_path, table):
    other = tmp_path / "elsewhere.bin"
    shutil.copy(table, other)
    assert key(tmp_path, [ROLLOUTS], [table]) == key(tmp_path, [ROLLOUTS], [other])


@pytest.mark.parametrize("change", ["content", "name", "more"])
def test_other_input_folder_other_work_folder(change, tmp_path):
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


def test_other_code_other_work_folder(tmp_path, table, monkeypatch):
    first = key(tmp_path, [ROLLOUTS], [table])
    monkeypatch.setattr(work, "code_hash", lambda: "other code")
    assert key(tmp_path, [ROLLOUTS], [table]) != first


def test_code_hash_is_of_the_modules_that_are_loaded(tmp_path, monkeypatch):
    module = types.ModuleType("pqm.made_up")
    module.__file__ = str(tmp_path / "made_up.py")
    (tmp_path / "made_up.py").write_text("a = 1\n")
    without = work.code_hash.__wrapped__()
    monkeypatch.setitem(sys.modules, "pqm.made_up", module)
    first = work.code_hash.__wrapped__()
    (tmp_path / "made_up.py").write_text("a = 2\n")
    assert len({without, first, work.code_hash.__wrapped__()}) == 3
    monkeypatch.setitem(sys.modules, "pqmore", sys.modules.pop("pqm.made_up"))
    assert work.code_hash.__wrapped__() == without


# ---------------------------------------------------------------- one folder an output


def test_a_work_folder_is_named_after_its_output(tmp_path):
    path = WorkFolder(tmp_path, "rollouts", Path("data/demo/rollouts/weak/test.parquet"), [], []).path
    assert path.parent == tmp_path / "rollouts" and re.fullmatch("test.parquet-[0-9a-f]{8}@[0-9a-f]{16}", path.name)
    long = WorkFolder(tmp_path, "rollouts", Path("/elsewhere", *["deep"] * 90, "out.parquet"), [], []).path
    assert re.fullmatch("out.parquet-[0-9a-f]{8}@[0-9a-f]{16}", long.name)


def test_parts_that_an_earlier_try_left_with_another_key_are_removed(tmp_path, table, capsys):
    first = key(tmp_path, ["a"], [table])
    (first / "shard-000000.pickle").touch()
    second = key(tmp_path, ["b"], [table])
    assert second.exists() and not first.exists()
    assert f"removed {first}: what it was made from has changed" in capsys.readouterr().err


def test_parts_of_the_same_key_of_other_outputs_and_of_other_stages_are_kept(tmp_path, table):
    def folder(stage: str, output: str, setting: str = "a") -> Path:
        return WorkFolder(tmp_path, stage, Path(output), [setting], [table]).path

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
def test_another_output_keeps_its_parts(one, other, tmp_path, table):
    kept = WorkFolder(tmp_path, "stage", Path(one), [one], [table]).path
    WorkFolder(tmp_path, "stage", Path(other), [other], [table])
    assert kept.exists()


def test_parts_are_kept_in_a_folder_of_the_study(run_cli, tables, policy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_yaml(Path("config/mine/study.yaml"), {"rollouts": {"tiny": ROLLOUTS.model_dump()}})
    monkeypatch.setattr(transformers_engine, "sample", killed_after(2, transformers_engine.sample))
    verb = ["rollouts", "sample", "config/mine/study.yaml", "tiny", "--policy", policy, "--questions", tables.questions]
    with pytest.raises(Killed):
        run_cli(*verb, "--output", "data/mine/rollouts/weak/tiny.parquet")
    [shard] = [path for path in tmp_path.rglob("*") if path.name.startswith("shard")]
    assert shard.relative_to(tmp_path).as_posix().startswith(".work/mine/rollouts/tiny.parquet-")


def test_a_verb_goes_on_after_a_change_of_another_item(run_cli, write_study, tables, policy, tmp_path, monkeypatch):
    """The study's file may change between two tries: the parts of an item are kept as long as its own settings stay."""
    inputs = ["--policy", policy, "--questions", tables.questions, "--work", tmp_path / "work"]
    mine, made = ROLLOUTS.model_dump(), []
    sample = transformers_engine.sample
    monkeypatch.setattr(transformers_engine, "sample", lambda *given: (made.append(1), sample(*given))[1])

    def run(**rollouts: Any) -> int:
        study = write_study(rollouts=rollouts)
        return run_cli("rollouts", "sample", study, "mine", "--output", tmp_path / "rollouts.parquet", *inputs)[0]

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(transformers_engine, "sample", killed_after(2, transformers_engine.sample))
        run(mine=mine)
    made.clear()
    assert run(mine=mine, other=mine | {"seed": 9}) == 0
    assert len(made) == 2  # of three shards one was finished


def test_finish_leaves_no_work_folder(tmp_path):
    folder = WorkFolder(tmp_path, "stage", OUT, [], [])
    folder.table_by_shards([1, 2], rows_of, "title", "shard")
    assert len(list(folder.path.iterdir())) == 2
    folder.finish()
    assert not folder.path.exists()


def test_finished_verb_leaves_no_work(run_cli, settings, tables, policy, tmp_path):
    config, output = settings("rollouts", **ROLLOUTS.model_dump()), tmp_path / "rollouts.parquet"
    inputs = ["--policy", policy, "--questions", tables.questions, "--work", tmp_path / "work"]
    assert run_cli("rollouts", "sample", config, "--output", output, *inputs)[0] == 0
    assert len(formats.read(output, formats.ROLLOUTS)) == 12
    assert [path for path in (tmp_path / "work").rglob("*") if path.is_file() or path.parent.name == "rollouts"] == []
    assert list(tmp_path.rglob("*.part")) == []


# ---------------------------------------------------------------- training


@pytest.fixture
def train_in(tmp_path, tables, policy):
    def run(name: str) -> Path:
        folder = WorkFolder(tmp_path / name / "work", "train", OUT, [RUN, TRAINING, "0"], [tables.labels, policy])
        output = tmp_path / name / "model"
        train(RUN, TRAINING, 0, tables.labels, tables.labels, policy, output, folder)
        folder.finish()
        return output

    return run


@pytest.mark.parametrize("saves", [1, 2])
def test_interrupted_training_equals_an_uninterrupted_one(saves, train_in, tmp_path, monkeypatch):
    whole = train_in("whole")
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(train_stage, "_save_state", killed_after(saves, train_stage._save_state))
        train_in("cut")
    assert not (tmp_path / "cut" / "model").exists()
    steps: list[int] = []
    one_step = train_stage._train_step
    monkeypatch.setattr(train_stage, "_train_step", lambda *arguments: (steps.append(1), one_step(*arguments))[1])
    cut = train_in("cut")
    total = pd.read_csv(whole / "training.csv")["step"].iloc[-1]
    assert 0 < len(steps) == total - saves * TRAINING.checkpoint_every
    assert checkpoint_hash(cut) == checkpoint_hash(whole)
    assert content(cut) == content(whole)


def test_training_cut_between_two_saves_equals_an_uninterrupted_one(train_in, monkeypatch):
    whole = train_in("whole")
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(train_stage, "_train_step", killed_after(6, train_stage._train_step))
        train_in("cut")
    assert content(train_in("cut")) == content(whole)


def test_training_cut_while_its_checkpoint_is_written_equals_an_uninterrupted_one(train_in, tmp_path, monkeypatch):
    whole = train_in("whole")
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(train_stage, "save_reward_model", killed_after(1, train_stage.save_reward_model))
        train_in("cut")
    assert [path.name for path in (tmp_path / "cut").iterdir()] == ["work"]
    assert content(train_in("cut")) == content(whole)


# ---------------------------------------------------------------- pretraining


@pytest.fixture
def pretrain_in(tmp_path, tables, monkeypatch):
    monkeypatch.setattr(pretraining_stage, "VALIDATION_BATCHES", 2)

    def run(name: str, root: Path = tmp_path) -> Path:
        folder = WorkFolder(root / name / "work", "policies", OUT, [PRETRAINING], [tables.questions])
        output = root / name / "models"
        pretrain(PRETRAINING, None, {"questions": tables.questions}, output, folder)
        folder.finish()
        return output

    return run


@pytest.fixture(scope="module")
def pretrained_root(tmp_path_factory):
    return tmp_path_factory.mktemp("pretrained")


@pytest.fixture
def pretrained(pretrained_root, pretrain_in):
    """An uninterrupted pretraining."""
    done = pretrained_root / "whole" / "models"
    return done if done.exists() else pretrain_in("whole", pretrained_root)


def test_pretraining_keeps_its_snapshots(pretrained, pretrained_root):
    table = pd.read_csv(pretrained / "snapshots.csv")
    assert table["snapshot"].tolist() == ["phase-1-step-000004", "phase-1-step-000008", "phase-2-step-000004"]
    assert {path.name for path in pretrained.iterdir()} == {"snapshots.csv", *table["snapshot"]}
    assert table["pass_at_1"].notna().tolist() == [True, True, False]
    assert table["step_auc"].notna().tolist() == [False, False, True]
    assert not any((pretrained_root / "whole" / "work" / "policies").iterdir())


@pytest.mark.parametrize("saves", [1, 2, 3])
def test_interrupted_pretraining_equals_an_uninterrupted_one(saves, pretrained, pretrain_in, tmp_path, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(pretraining_stage._State, "save", killed_after(saves, pretraining_stage._State.save))
        pretrain_in("cut")
    assert not (tmp_path / "cut" / "models").exists()
    cut = pretrain_in("cut")
    names = pd.read_csv(cut / "snapshots.csv")["snapshot"]
    assert [checkpoint_hash(cut / name) for name in names] == [checkpoint_hash(pretrained / name) for name in names]
    assert content(cut) == content(pretrained)


def test_pretraining_cut_between_a_snapshot_and_its_save(pretrained, pretrain_in, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(pretraining_stage, "_snapshot", killed_after(2, pretraining_stage._snapshot))
        pretrain_in("cut")
    assert content(pretrain_in("cut")) == content(pretrained)


def test_pretraining_cut_while_its_output_is_written(pretrained, pretrain_in, tmp_path, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(pd.DataFrame, "to_csv", killed_after(1, pd.DataFrame.to_csv))
        pretrain_in("cut")
    assert not (tmp_path / "cut" / "models").exists()
    assert content(pretrain_in("cut")) == content(pretrained)


# ---------------------------------------------------------------- whole or not at all


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
