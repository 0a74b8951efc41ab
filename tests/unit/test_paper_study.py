"""The paper study: its results are planned, and its training has the authors' settings."""

from pathlib import Path

import pytest

from pqm.paper.declared import declared
from pqm.study.layout import Layout
from pqm.study.reading import load_study
from pqm.workflow.plan import Plan

FILE = Path(__file__).parents[2] / "config/paper/study.yaml"


@pytest.fixture(scope="module")
def plan():
    return Plan(load_study(FILE), Layout.of_file(FILE))


@pytest.mark.parametrize(
    ("kind", "name", "runs"),
    [("tables", "case_study", ("bce", "pqm-zeta4")), ("figures", "framework", ("pqm-zeta4",)), ("figures", "assumption", ())],
)
def test_results_about_single_steps_are_planned_from_labels(plan, kind, name, runs):
    assert plan.runs_of(kind, name) == runs
    files = plan.files_of(kind, name)
    assert plan.layout.labels("audit") in files
    for run in runs:
        assert set(plan.run_scores(run, ["audit"])) <= set(files)


def test_no_reward_model_is_trained_on_the_audited_questions(plan):
    study = plan.study
    audited = study.questions["audit"].source
    assert (audited.dataset, audited.split) == ("openai/gsm8k", "test")
    assert {run.labels for run in study.runs.values()} == {"train", "soft"} and study.labels["soft"].dataset == "train"
    assert study.questions["train"].source.split == "train" and study.labels["train"].source.format == "math-shepherd"


def test_half_of_the_audits_completions_are_those_of_a_published_label(plan):
    assert plan.study.labels["audit"].completions // 2 == plan.study.labels["soft"].completions == 8


def test_training_is_that_of_the_authors(plan):
    training = plan.study.training
    assert (training.learning_rate, training.epochs, training.clip, training.weight_decay) == (2e-6, 2.0, 1.0, 0.0)
    assert (training.warmup_share, training.warmup_type) == (0.1, "log")
    assert (training.head_dropout, training.head_bias) == (0.1, True)


def test_every_backbone_reads_the_authors_prompt_without_a_beginning_token(plan):
    prompts = {backbone.format.prompt("Why?") for backbone in plan.study.backbones.values()}
    assert prompts == {"[INST] Why? [/INST]\n"}


def test_no_run_has_the_losses_of_the_authors_code(plan):
    assert all(run.loss_settings.get("normalizer", "factors") == "factors" for run in plan.study.runs.values())


def test_a_study_without_audit_set_plans_its_case_study_without_labels(plan):
    evaluation = plan.study.evaluation.model_copy(update={"audit": None})
    without = Plan(plan.study.model_copy(update={"evaluation": evaluation}), plan.layout)
    assert "audit labels" in declared("tables", "case_study").needs
    assert plan.layout.labels("audit") not in without.files_of("tables", "case_study")
