# What every rule file needs: the study's files, the code that a stage runs through, and small helpers.
from pathlib import Path

from pqm.config import (
    BackboneConfig,
    EvaluationConfig,
    LabelsConfig,
    PaperConfig,
    PolicyConfig,
    PretrainingConfig,
    QuestionsConfig,
    RunConfig,
    TrainingConfig,
    load,
)
from pqm.errors import PqmError
from snakemake.exceptions import WorkflowError


configfile: "params.yaml"


STUDY = f"config/{config['study']}"
REAL_DATA = config.get("real_data", "../shared/data")

# A change in these files reruns the stage (and what depends on it). Settings, formats and the command line are checked
# at every boundary instead: they are no part of any result.
SOURCE = {
    "questions": ["questions/__init__.py", "questions/stories.py"],
    "published": ["questions/published.py"],
    "pretraining": ["policies/corpus.py", "policies/pretraining.py", "policies/tokenizer.py", "questions/stories.py"],
    "policies": ["policies/__init__.py", "reward_model.py"],
    "rollouts": ["rollouts/__init__.py", "rollouts/sampling.py", "solution.py"],
    "labels": ["labels/__init__.py", "rollouts/sampling.py", "evaluate/grading.py", "solution.py"],
    "train": ["train/__init__.py", "train/data.py", "train/losses.py", "reward_model.py", "solution.py"],
    "grades": ["evaluate/__init__.py", "evaluate/grading.py"],
    "scores": ["evaluate/scores.py", "evaluate/scoring.py", "reward_model.py", "solution.py"],
    "metrics": ["evaluate/__init__.py", "evaluate/estimators.py"],
    "tables": ["paper/tables.py", "paper/statistics.py", "paper/style.py"],
    "figures": ["paper/figures.py", "paper/style.py"],
}


def code(part):
    return [f"src/pqm/{module}" for module in SOURCE[part]]


def settings(model, kind, name=None):
    """The settings of config/<study>/<kind>/<name>.yaml, or of config/<study>/<kind>.yaml."""
    path = Path(STUDY, kind, f"{name}.yaml") if name else Path(STUDY, f"{kind}.yaml")
    try:
        return load(model, path)
    except PqmError as error:
        raise WorkflowError(str(error)) from None


def names(kind):
    """Which items of a kind the study has: one file each."""
    return sorted(path.stem for path in Path(STUDY, kind).glob("*.yaml"))


def known(kind, name, user):
    """`name`, if the study has such a file; otherwise say who asks for it."""
    if name not in names(kind):
        raise WorkflowError(f"{user}: no {kind}/{name}.yaml in {STUDY}; it has {', '.join(names(kind)) or 'none'}")
    return name


def repeated(option, key):
    """A parameter that repeats a command line option for each of the inputs `key`."""

    def text(wildcards, input):
        paths = input.get(key) or []
        return " ".join(f"{option} {path}" for path in ([paths] if isinstance(paths, str) else paths))

    return text


EVALUATION = settings(EvaluationConfig, "evaluation")
TRAINING = settings(TrainingConfig, "training")
PAPER = settings(PaperConfig, "paper")
RUNS = [known("runs", config["run"], "--config run")] if "run" in config else names("runs")
LABELS = names("labels")
POLICIES = [known("policies", policy, f"{STUDY}/evaluation.yaml") for policy in EVALUATION.policies]
BENCHMARKS = [known("questions", benchmark, f"{STUDY}/evaluation.yaml") for benchmark in EVALUATION.benchmarks]
CELLS = [f"{policy}/{benchmark}" for policy in POLICIES for benchmark in BENCHMARKS]


wildcard_constraints:
    dataset=r"[\w-]+",
    policy=r"[\w-]+",
    pretraining=r"[\w-]+",
    backbone=r"[\w-]+",
    labels=r"[\w-]+",
    run=r"[\w-]+",
    seed=r"\d+",
    kind=r"likelihood|proofreader",
    name=r"\w+",
