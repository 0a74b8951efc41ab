"""Losses of a user's own module, trained by the verb."""

import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from small import TRAINING

from pqm.estimation.estimators import aggregate
from pqm.evaluate.scores import Scorer
from pqm.hashes import checkpoint_hash
from pqm.io import formats
from pqm.losses.common.loss import find, source_of

HINGE = '''\
"""A hinge ranking loss: correct steps, and the start with score 0, above wrong steps by a margin."""

import torch
from torch import Tensor


def hinge(scores: Tensor, labels: Tensor, margin: float = 1.0) -> Tensor:
    """Mean over all pairs of a correct and a wrong step; shape [trajectories]."""
    start = torch.zeros_like(scores[:, :1])
    above, correct = torch.cat([start, scores], dim=1), torch.cat([start == 0, labels == 1], dim=1)
    pairs = correct.unsqueeze(2) & (labels == 0).unsqueeze(1)
    costs = (margin - above.unsqueeze(2) + scores.unsqueeze(1)).clamp(min=0)
    return torch.where(pairs, costs, 0).sum(dim=(1, 2)) / pairs.sum(dim=(1, 2)).clamp(min=1)
'''
SURVIVAL = '''\
"""Cross-entropy of the chance that no step was wrong so far, which is the product of the steps' probabilities."""

import torch
from torch import Tensor

from pqm.losses.common.loss import Loss


def survival(scores: Tensor, labels: Tensor) -> Tensor:
    """Mean over the steps; shape [trajectories]."""
    counted, right = labels >= 0, (labels != 0).int().cumprod(dim=1)
    log_chance = torch.nn.functional.logsigmoid(scores).cumsum(dim=1).clamp(max=-1e-6)
    costs = -torch.where(right == 1, log_chance, torch.log(-torch.expm1(log_chance)))
    return torch.where(counted, costs, 0).sum(dim=1) / counted.sum(dim=1).clamp(min=1)


LOSS = Loss(survival, "survival", scores="running-product")
'''
RUN = {"loss": "mine.hinge:hinge", "labels": "tiny", "backbone": "tiny"}
SHARED = TRAINING.model_dump(mode="json") | {"epochs": 12.0, "checkpoint_every": 8}

Train = Callable[..., tuple[int, str, Path]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory with the user's package, which is unloaded after the test."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/hinge.py").write_text(HINGE)
    (tmp_path / "mine/survival.py").write_text(SURVIVAL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    find.cache_clear()
    for name in [name for name in sys.modules if name.split(".")[0] == "mine"]:
        del sys.modules[name]


@pytest.fixture
def train(folder: Path, run_cli: Any, write_study: Any, tables: Any, policy: Path) -> Train:
    """Run `pqm train` with this run; return exit code, standard error and the checkpoint's folder."""

    def run(name: str = "own", **changes: Any) -> tuple[int, str, Path]:
        study = write_study(runs={name: RUN | changes}, training=SHARED)
        inputs = ["--labels", tables.labels, "--validation", tables.labels, "--backbone", policy, "--seed", 0]
        code, error = run_cli("train", study, name, "--output", folder / name, *inputs, "--cache", folder / "cache")
        return code, error, folder / name

    return run


def test_a_loss_of_a_module_beside_the_study_trains(train):
    code, error, checkpoint = train(loss_settings={"margin": 2.0})
    assert code == 0, error
    log = pd.read_csv(checkpoint / "training.csv")
    assert log["loss"].iloc[-1] < 0.5 * log["loss"].iloc[0]
    facts = json.loads((checkpoint / "run.json").read_text())
    assert facts["run"]["loss"] == "mine.hinge:hinge" and facts["run"]["loss_settings"] == {"margin": 2.0}
    assert "loss mine.hinge:hinge, margin 2.0" in (checkpoint / "README.md").read_text()


def test_a_setting_has_the_default_of_its_parameter(train):
    checkpoints = [
        train(f"run-{index}", loss_settings=one)[2] for index, one in enumerate([{}, {"margin": 1.0}, {"margin": 2.0}])
    ]
    default, same, other = map(checkpoint_hash, checkpoints)
    assert default == same != other


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"loss_settings": {"margn": 2.0}}, "loss hinge: unknown key 'margn'; did you mean 'margin'?"),
        ({"loss_settings": {"margin": "wide"}}, "loss hinge: margin: Input should be a valid number, found 'wide'"),
        ({"targets": "soft"}, "loss mine.hinge:hinge accepts hard targets only"),
    ],
    ids=["unknown", "type", "targets"],
)
def test_settings_that_the_loss_does_not_take_are_refused(changes, sentence, train, folder):
    code, error, checkpoint = train(**changes)
    assert (code, error) == (1, f"pqm: {folder / 'study.yaml'}: runs.own: {sentence}\n")
    assert not checkpoint.exists()


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        ("mine.nowhere:hinge", "ModuleNotFoundError"),
        ("mine.hinge:hnge", "AttributeError"),
        ("mine.unfinished:hinge", r"SyntaxError: .*unfinished\.py, line 2"),
        ("mine.raises:hinge", "ZeroDivisionError: division by zero"),
    ],
)
def test_a_loss_that_cannot_be_imported_is_refused(loss, words, train, folder):
    (folder / "mine/unfinished.py").write_text("import torch\ndef hinge(scores, labels:\n    return scores\n")
    (folder / "mine/raises.py").write_text("1 / 0\n")
    code, error, _ = train(loss=loss)
    start = re.escape(f"pqm: {folder / 'study.yaml'}: runs.own: loss '{loss}': cannot be imported (")
    assert code == 1 and re.match(start + words, error) and error.count("\n") == 1


def test_an_edited_loss_changes_the_key_of_its_training(train, folder, monkeypatch):
    """The source of the loss and of `losses/common` is part of the key of an unfinished training."""
    source = source_of(RUN["loss"])
    assert HINGE in source and "def reduce(" in source
    edited = HINGE.replace("margin - above", "2 * margin - above")
    (folder / "mine/hinge.py").write_text(edited)
    shutil.rmtree(folder / "mine/__pycache__", ignore_errors=True)
    assert edited in source_of(RUN["loss"])


def test_a_loss_of_running_products_trains_a_model_whose_scores_never_rise(train, tables):
    code, error, checkpoint = train(loss="mine.survival:LOSS")
    assert code == 0, error
    assert json.loads((checkpoint / "config.json").read_text())["step_scores"] == "running-product"
    log = pd.read_csv(checkpoint / "training.csv")
    assert log["loss"].iloc[-1] < log["loss"].iloc[0]
    scorer = Scorer([checkpoint], "reward", 256)
    questions = formats.read(tables.questions, formats.QUESTIONS).set_index("question_id")["question"]
    lengths = set()
    for name, group in formats.read(tables.rollouts, formats.ROLLOUTS).groupby("question_id"):
        for scores in scorer([(questions[name], [list(steps) for steps in group["steps"]])])[0]:
            assert scores == sorted(scores, reverse=True)
            assert aggregate(scores, "min") == aggregate(scores, "last")
            lengths.add(len(scores))
    assert max(lengths) > 1
