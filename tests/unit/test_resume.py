"""Interrupted and resumed trainings and pretrainings give the same bytes as uninterrupted ones."""

from pathlib import Path

import pandas as pd
import pytest
from interruptions import Killed, content, killed_after
from small import TRAINING as SHORT

import pqm.policies.pretraining_validation as pretraining_validation
import pqm.train.trainer as trainer
from pqm.hashes import checkpoint_hash
from pqm.io.shard_cache import ShardCache
from pqm.policies.pretraining import Pretrainer
from pqm.study.pretraining import Architecture, Phase, PretrainingConfig
from pqm.study.runs import RunConfig
from pqm.train.train_step import TrainStep
from pqm.train.trainer import Trainer, TrainingFiles

OUT = Path("data/out.parquet")  # what shard caches are named after
RUN = RunConfig(loss="pqm", loss_settings={"zeta": 4.0}, labels="tiny", backbone="tiny")
TRAINING = SHORT.model_copy(update={"epochs": 4.0, "batch_tokens": 200, "checkpoint_every": 4, "head_dropout": 0.1})
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
            injected_error_share=1.0,
            injected_error_chance=0.5,
            token_head_weight=1.0,
            token_head_layer=1,
            step_head_weight=1.0,
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


# ---------------------------------------------------------------- training


@pytest.fixture
def train_in(tmp_path, tables, policy):
    def run(name: str) -> Path:
        cache = ShardCache(tmp_path / name / "cache", "train", OUT, [RUN, TRAINING, "0"], [tables.labels, policy])
        output = tmp_path / name / "model"
        Trainer(RUN, TRAINING, 0, TrainingFiles(tables.labels, tables.labels, policy), cache).train(output)
        cache.finish()
        return output

    return run


@pytest.mark.parametrize("saves", [1, 2])
def test_interrupted_training_equals_an_uninterrupted_one(saves, train_in, tmp_path, monkeypatch):
    whole = train_in("whole")
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(trainer, "save_state", killed_after(saves, trainer.save_state))
        train_in("cut")
    assert not (tmp_path / "cut" / "model").exists()
    steps: list[int] = []
    one_step = TrainStep.__call__
    monkeypatch.setattr(TrainStep, "__call__", lambda *arguments: (steps.append(1), one_step(*arguments))[1])
    cut = train_in("cut")
    total = pd.read_csv(whole / "training.csv")["step"].iloc[-1]
    assert 0 < len(steps) == total - saves * TRAINING.checkpoint_every
    assert checkpoint_hash(cut) == checkpoint_hash(whole)
    assert content(cut) == content(whole)


def test_training_cut_between_two_saves_equals_an_uninterrupted_one(train_in, monkeypatch):
    whole = train_in("whole")
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(TrainStep, "__call__", killed_after(6, TrainStep.__call__))
        train_in("cut")
    assert content(train_in("cut")) == content(whole)


def test_training_cut_while_its_checkpoint_is_written_equals_an_uninterrupted_one(train_in, tmp_path, monkeypatch):
    whole = train_in("whole")
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(trainer, "save_reward_model", killed_after(1, trainer.save_reward_model))
        train_in("cut")
    assert [path.name for path in (tmp_path / "cut").iterdir()] == ["cache"]
    assert content(train_in("cut")) == content(whole)


# ---------------------------------------------------------------- pretraining


@pytest.fixture
def pretrain_in(tmp_path, tables, monkeypatch):
    monkeypatch.setattr(pretraining_validation, "BATCHES", 2)

    def run(name: str, root: Path = tmp_path) -> Path:
        cache = ShardCache(root / name / "cache", "policies", OUT, [PRETRAINING], [tables.questions])
        output = root / name / "models"
        Pretrainer(PRETRAINING, None, {"questions": tables.questions}, cache).pretrain(output)
        cache.finish()
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
    assert not any((pretrained_root / "whole" / "cache" / "policies").iterdir())


@pytest.mark.parametrize("saves", [1, 2, 3])
def test_interrupted_pretraining_equals_an_uninterrupted_one(saves, pretrained, pretrain_in, tmp_path, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Pretrainer, "_save", killed_after(saves, Pretrainer._save))
        pretrain_in("cut")
    assert not (tmp_path / "cut" / "models").exists()
    cut = pretrain_in("cut")
    names = pd.read_csv(cut / "snapshots.csv")["snapshot"]
    assert [checkpoint_hash(cut / name) for name in names] == [checkpoint_hash(pretrained / name) for name in names]
    assert content(cut) == content(pretrained)


def test_pretraining_cut_between_a_snapshot_and_its_save(pretrained, pretrain_in, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Pretrainer, "_snapshot", killed_after(2, Pretrainer._snapshot))
        pretrain_in("cut")
    assert content(pretrain_in("cut")) == content(pretrained)


def test_pretraining_cut_while_its_output_is_written(pretrained, pretrain_in, tmp_path, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(pd.DataFrame, "to_csv", killed_after(1, pd.DataFrame.to_csv))
        pretrain_in("cut")
    assert not (tmp_path / "cut" / "models").exists()
    assert content(pretrain_in("cut")) == content(pretrained)
