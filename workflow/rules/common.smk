# The files, code lists and helpers that the other files of this folder share.
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

# Here and not in an input function, whose errors Snakemake takes for a missing rule.
for run in RUNS:
    known("labels", settings(RunConfig, "runs", run).labels, f"{STUDY}/runs/{run}.yaml")
    known("backbones", settings(RunConfig, "runs", run).backbone, f"{STUDY}/runs/{run}.yaml")


# ---- inputs of questions.smk
def upstream_questions(wildcards):
    upstream = settings(QuestionsConfig, "questions", wildcards.dataset).upstream
    user = f"{STUDY}/questions/{wildcards.dataset}.yaml"
    return [f"data/questions/{known('questions', dataset, user)}.parquet" for dataset in upstream]


def published(path):
    file = Path(REAL_DATA, path)
    if not file.exists():
        raise WorkflowError(f"{file} is missing: name the folder of the published data with --config real_data=FOLDER")
    return file


def published_questions_file(wildcards):
    return published(load(QuestionsConfig, Path(f"config/real/questions/{wildcards.dataset}.yaml")).source.path)


def published_solutions_file(wildcards):
    return published("gsm8k/example_model_solutions.jsonl")


# ---- inputs of policies.smk
PICKING = {"policies": PolicyConfig, "backbones": BackboneConfig}


def pretraining_questions(wildcards):
    settings_ = settings(PretrainingConfig, "pretraining", wildcards.pretraining)
    user = f"{STUDY}/pretraining/{wildcards.pretraining}.yaml"
    datasets = dict.fromkeys([*settings_.excluded, settings_.validation])
    return [f"data/questions/{known('questions', dataset, user)}.parquet" for dataset in datasets]


def pretraining_start(wildcards):
    start = settings(PretrainingConfig, "pretraining", wildcards.pretraining).start
    user = f"{STUDY}/pretraining/{wildcards.pretraining}.yaml"
    return [f"data/pretraining/{known('pretraining', start, user)}"] if start else []


def picked_pretraining(kind):
    def folder(wildcards):
        name = wildcards[0]
        pretraining = settings(PICKING[kind], kind, name).pick.pretraining
        return f"data/pretraining/{known('pretraining', pretraining, f'{STUDY}/{kind}/{name}.yaml')}"

    return folder


# ---- inputs of rollouts.smk
def needed_rollouts():
    """The policies judged on every benchmark, and those that each label set asks for."""
    pairs = dict.fromkeys(CELLS)
    for labels in LABELS:
        wanted = settings(LabelsConfig, "labels", labels)
        user = f"{STUDY}/labels/{labels}.yaml"
        pairs |= dict.fromkeys(
            f"{known('policies', policy, user)}/{known('questions', wanted.dataset, user)}" for policy in wanted.policies
        )
    return [f"data/rollouts/{pair}.parquet" for pair in pairs]


# ---- inputs of labels.smk
def label_inputs(part):
    def paths(wildcards):
        wanted = settings(LabelsConfig, "labels", wildcards.labels)
        user = f"{STUDY}/labels/{wildcards.labels}.yaml"
        policies = [known("policies", policy, user) for policy in wanted.policies]
        return {
            "completer": f"data/policies/{known('policies', wanted.completer, user)}",
            "questions": f"data/questions/{known('questions', wanted.dataset, user)}.parquet",
            "rollouts": [f"data/rollouts/{policy}/{wanted.dataset}.parquet" for policy in policies],
        }[part]

    return paths


# ---- inputs of train.smk
def run_input(part):
    def path(wildcards):
        run = settings(RunConfig, "runs", wildcards.run)
        return f"data/labels/{run.labels}.parquet" if part == "labels" else f"data/backbones/{run.backbone}"

    return path


# ---- inputs of evaluate.smk
def outputs(wildcards, output):
    return " ".join(f"--output {path}" for path in output)


wildcard_constraints:
    dataset=r"[\w-]+",
    policy=r"[\w-]+",
    pretraining=r"[\w-]+",
    backbone=r"[\w-]+",
    labels=r"[\w-]+",
    run=r"[\w-]+",
    seed=r"\d+",
    kind=r"likelihood|proofreader",
