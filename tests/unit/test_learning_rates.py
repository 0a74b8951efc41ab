"""The learning rate of a run is chosen on validation labels."""

import json

import pytest
from small import TRAINING

import pqm.train.learning_rates as learning_rates
from pqm.errors import PqmError
from pqm.io import formats
from pqm.io.shard_cache import ShardCache
from pqm.study.runs import RunConfig
from pqm.train.learning_rates import choose_learning_rate, first_questions
from pqm.train.trainer import TrainingFiles

RUN = RunConfig(loss="bce", labels="tiny", backbone="tiny")
RATES = (1e-7, 1e-2, 3e-3)


@pytest.fixture
def choose(tables, policy, tmp_path):
    def run(rates=RATES, labels=tables.labels):
        settings = TRAINING.model_copy(update={"learning_rate": None, "learning_rates": rates, "epochs": 8.0})
        cache = ShardCache(tmp_path / "cache", "train", tmp_path / "rate.json", [RUN, settings], [labels])
        return choose_learning_rate(RUN, settings, TrainingFiles(labels, tables.labels, policy), cache)

    return run


def test_the_rate_with_the_best_validation_is_chosen(choose):
    chosen = choose()
    assert [one["learning_rate"] for one in chosen["tried"]] == list(RATES)
    aucs = {one["learning_rate"]: one["solution_auc"] for one in chosen["tried"]}
    assert len(set(aucs.values())) > 1, "the rates differ"
    assert aucs[chosen["learning_rate"]] == max(aucs.values())


@pytest.mark.parametrize("aucs", [(0.5, 0.9, 0.9), (0.9, 0.5, 0.9), (float("nan"), 0.2, 0.2)])
def test_of_equal_rates_the_lowest_is_chosen(aucs, choose, monkeypatch):
    found = dict(zip(RATES, aucs))
    monkeypatch.setattr(learning_rates, "_validated", lambda run, rate, *_: {"step_auc": 0.5, "solution_auc": found[rate]})
    best = max(value for value in aucs if value == value)
    assert choose()["learning_rate"] == min(rate for rate, value in found.items() if value == best)


def test_without_right_and_wrong_solutions_of_a_question_there_is_no_choice(choose, monkeypatch):
    monkeypatch.setattr(learning_rates, "_validated", lambda *_: {"step_auc": 0.5, "solution_auc": float("nan")})
    with pytest.raises(PqmError, match="no question has a right and a wrong solution"):
        choose()


def test_finished_rates_are_not_trained_again(choose, monkeypatch):
    asked = []

    def validated(run, rate, *_):
        asked.append(rate)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return {"step_auc": 0.5, "solution_auc": rate}

    monkeypatch.setattr(learning_rates, "_validated", validated)
    with pytest.raises(KeyboardInterrupt):
        choose()
    assert choose()["learning_rate"] == 1e-2
    assert asked == [1e-7, 1e-2, 1e-2, 3e-3]


def test_a_quarter_of_the_questions_is_tried(tables):
    labels = formats.read(tables.labels, formats.LABELS)
    part = first_questions(labels)
    assert part["prompt"].nunique() == -(-labels["prompt"].nunique() // 4)
    whole = labels[labels["prompt"].isin(part["prompt"])]
    assert len(part) == len(whole) and part.attrs == labels.attrs


def test_the_verbs_pass_the_rate_on(run_cli, write_study, tables, policy, tmp_path):
    training = TRAINING.model_dump(mode="json", exclude_none=True, exclude={"learning_rate"}) | {"learning_rates": list(RATES)}
    study = write_study("made", training=training, runs={"r": RUN.model_dump(mode="json", exclude_none=True)})
    inputs = ("--labels", tables.labels, "--validation", tables.labels, "--backbone", policy, "--cache", tmp_path / "cache")
    rate, output = tmp_path / "rate.json", tmp_path / "model"
    code, error = run_cli("train", study, "r", "--output", output, "--seed", 0, inputs)
    assert code == 1 and "training lists learning_rates; pass the chosen one with --learning-rate" in error
    assert run_cli("learning-rate", study, "r", "--output", rate, inputs)[0] == 0
    assert run_cli("train", study, "r", "--output", output, "--seed", 0, inputs, "--learning-rate", rate)[0] == 0
    assert json.loads((output / "run.json").read_text())["run"]["learning_rate"] == json.loads(rate.read_text())["learning_rate"]
