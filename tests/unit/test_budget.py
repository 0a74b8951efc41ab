"""The estimated cost of a study, compared with sums by hand."""

from pathlib import Path

import pytest
from small import read_yaml, write_yaml

from pqm.errors import PqmError
from pqm.paper.budget import Budget, budget
from pqm.paper.results import Results

ROOT = Path(__file__).parents[2]
ASSUMED = {
    "gpu": "a GPU of one petaflop",
    "peak_flops": 1e15,
    "reached": {"sampling": 0.1, "training": 0.5, "scoring": 0.2},
    "parameters": {"small": 1e9, "large": 1e10},
    "policies": {"weak": "small", "final": "large"},
    "backbones": {"error-detecting": "small", "language-model": "small"},
    "pretraining": {"language-model": "small", "error-detection": "small"},
    "job_seconds": 36,
    "datasets": {
        name: {"questions": 10, "question_tokens": 100, "solution_tokens": 50, "steps": 5}
        for name in ("train", "test", "perturbed", "validation", "audit")
    },
    "label_tokens": {"train": 1e6, "validation": 1e5, "audit": 1e5},
}


@pytest.fixture
def study(tmp_path):
    """The tiny study with round numbers as assumptions."""
    content = read_yaml(ROOT / "config/tiny/study.yaml")

    def write(**changes):
        write_yaml(tmp_path / "study.yaml", content | {"assumptions": ASSUMED | changes})
        return Results(tmp_path / "study.yaml")

    return write


def test_a_job_costs_its_operations(study):
    jobs = Budget(study()).jobs().set_index(["stage", "item"])
    made = study()
    samples = read_yaml(made.file)["rollouts"]["test"]["samples"]
    written = 10 * (100 + samples * 50)
    policy = made.evaluation.policies[0]
    assert jobs.at[("rollouts", f"{policy}/test"), "tokens"] == written
    parameters = ASSUMED["parameters"][ASSUMED["policies"][policy]]
    assert jobs.at[("rollouts", f"{policy}/test"), "gpu_hours"] == pytest.approx(0.01 + 2 * parameters * written / 1e14 / 3600)
    run = made.runs[0]
    seed = made.seeds(run)[0]
    trained = 1e6 * made.training.epochs
    assert jobs.at[("train", f"{run}/seed-{seed}"), "gpu_hours"] == pytest.approx(0.01 + 6 * 1e9 * trained / 5e14 / 3600)
    assert jobs.at[("train", f"{run}/seed-{seed}"), "disk_gb"] == pytest.approx(2.0)
    assert jobs.at[("policies", "large"), "disk_gb"] == pytest.approx(20.0)
    config = made.settings.pretraining["language-model"]
    read = config.batch_tokens * sum(phase.steps for phase in config.phases)
    assert jobs.at[("policies", "language-model"), "gpu_hours"] == pytest.approx(0.01 + 6 * 1e9 * read / 5e14 / 3600)
    assert jobs.at[("policies", "language-model"), "disk_gb"] == pytest.approx(2.0 * len(config.snapshot_shares()))


def test_choosing_a_learning_rate_costs_a_quarter_of_a_training_per_rate(study):
    content = read_yaml(ROOT / "config/tiny/study.yaml")["training"]
    rates = {key: value for key, value in content.items() if key != "learning_rate"} | {"learning_rates": [1e-5, 1e-4, 1e-3]}
    file = study().file
    write_yaml(file, read_yaml(file) | {"training": rates})
    made = Results(file)
    jobs = Budget(made).jobs().set_index(["stage", "item"])
    run, seed = made.runs[0], made.seeds(made.runs[0])[0]
    tried, trained = (jobs.at[("train", f"{run}/{name}"), "tokens"] for name in ("learning-rate", f"seed-{seed}"))
    assert tried == pytest.approx(3 / 4 * trained)


def test_a_result_costs_its_runs(study):
    estimate = Budget(study())
    jobs = estimate.jobs()
    made = estimate.by_result(jobs).set_index("result")
    main = study().config.tables["main"]
    train = jobs[jobs["stage"] == "train"].set_index("item")["gpu_hours"]
    names = [f"{run}/seed-{seed}" for run in main for seed in study().seeds(run)]
    assert made.at["table main", "checkpoints"] == len(names)
    assert made.at["table main", "training_hours"] == pytest.approx(train[names].sum())
    assert made.at["figure best_of_n", "training_hours"] == made.at["table main", "training_hours"]
    assert made.at["table cost", "training_hours"] == 0


def test_what_the_assumptions_lack_is_named(study):
    with pytest.raises(PqmError, match=r"study\.yaml: assumptions: policies has no 'weak', which the study uses"):
        Budget(study(policies={"final": "large"})).jobs()


def test_a_study_without_assumptions_has_no_budget(run_cli):
    file = ROOT / "config/tiny/study.yaml"
    code, told = run_cli("paper", "budget", file)
    assert code == 1 and told == f"pqm: {file}: section 'assumptions' is missing; a budget is computed from it\n"


def test_the_docs_show_the_paper_study():
    """The tables in docs/scale.md are the output of the verb."""
    assert budget(Results(ROOT / "config/paper/study.yaml")).strip() in (ROOT / "docs" / "scale.md").read_text()
