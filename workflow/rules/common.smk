# The files, code lists and helpers that the other files of this folder share.
from functools import cache
import re
from pathlib import Path

import yaml
from pqm.config import (
    AnnotatedConfig,
    BackboneConfig,
    EvaluationConfig,
    LabelsConfig,
    PaperConfig,
    PolicyConfig,
    PretrainingConfig,
    PublishedLabelsConfig,
    QuestionsConfig,
    ResourcesConfig,
    RolloutsConfig,
    RunConfig,
    TrainingConfig,
    load,
    load_labels,
)
from pqm.errors import PqmError
from pqm.paper import FIGURE_NEEDS, OF_RUNS, TABLE_NEEDS
from snakemake.exceptions import WorkflowError


configfile: "params.yaml"


STUDY = f"config/{config['study']}"
REAL_DATA = config.get("real_data", "../shared/data")

# A change in these files reruns the stage (and what depends on it). Settings, formats and the command line are checked
# at every boundary instead: they are no part of any result. A test follows the imports and compares.
SOURCE = {
    "questions": ["questions/__init__.py", "questions/stories.py"],
    "published": ["questions/published.py"],
    "symbolic": ["questions/published.py", "questions/symbolic.py"],
    "annotated": ["rollouts/annotated.py"],
    "pretraining": [
        "evaluate/estimators.py",
        "evaluate/grading.py",
        "policies/corpus.py",
        "policies/pretraining.py",
        "policies/story_text.py",
        "policies/symbolic_text.py",
        "policies/tokenizer.py",
        "questions/stories.py",
        "questions/symbolic.py",
        "rollouts/engine.py",
        "rollouts/sampling.py",
        "solution.py",
    ],
    "policies": ["policies/__init__.py", "solution.py"],
    "foreign": ["policies/foreign.py", "solution.py"],
    "served": ["policies/served.py", "solution.py"],
    "rollouts": [
        "rollouts/__init__.py",
        "rollouts/engine.py",
        "rollouts/openai_engine.py",
        "rollouts/sampling.py",
        "rollouts/transformers_engine.py",
        "solution.py",
    ],
    "labels": [
        "evaluate/grading.py",
        "labels/__init__.py",
        "rollouts/__init__.py",
        "rollouts/engine.py",
        "rollouts/openai_engine.py",
        "rollouts/sampling.py",
        "rollouts/transformers_engine.py",
        "solution.py",
    ],
    "published_labels": ["evaluate/grading.py", "labels/published.py"],
    "train": [
        "evaluate/estimators.py",
        "evaluate/scoring.py",
        "reward_model.py",
        "solution.py",
        "train/__init__.py",
        "train/data.py",
        "train/losses.py",
    ],
    "grades": [
        "evaluate/__init__.py",
        "evaluate/grading.py",
        "evaluate/rules.py",
        "evaluate/unanswerable.py",
        "questions/stories.py",
    ],
    "scores": ["evaluate/scores.py", "evaluate/scoring.py", "reward_model.py", "solution.py"],
    "metrics": ["evaluate/__init__.py", "evaluate/estimators.py"],
    "tables": [
        "evaluate/estimators.py",
        "evaluate/first_errors.py",
        "paper/cost.py",
        "paper/statistics.py",
        "paper/study.py",
        "paper/style.py",
        "paper/tables.py",
    ],
    "headline": ["paper/headline.py"],
    "figures": [
        "evaluate/estimators.py",
        "evaluate/first_errors.py",
        "paper/cost.py",
        "paper/figures.py",
        "paper/statistics.py",
        "paper/study.py",
        "paper/style.py",
        "paper/theory.py",
        "questions/stories.py",
    ],
    "report": ["evaluate/estimators.py", "paper/report.html.jinja", "paper/report.py", "paper/study.py", "paper/style.py"],
    "real_solutions": ["evaluate/estimators.py", "paper/published.py", "questions/published.py"],
}


def code(part):
    return [f"src/pqm/{module}" for module in SOURCE[part]]


@cache
def settings(model, kind, name=None):
    """The settings of config/<study>/<kind>/<name>.yaml, or of config/<study>/<kind>.yaml."""
    path = Path(STUDY, kind, f"{name}.yaml") if name else Path(STUDY, f"{kind}.yaml")
    try:
        return load(model, path)
    except PqmError as error:
        raise WorkflowError(str(error)) from None


def label_settings(name):
    try:
        return load_labels(Path(STUDY, "labels", f"{name}.yaml"))
    except PqmError as error:
        raise WorkflowError(str(error)) from None


def names(kind):
    """Which items of a kind the study has: one file each."""
    found = sorted(path.stem for path in Path(STUDY, kind).glob("*.yaml"))
    for name in found:
        if not re.fullmatch(r"[\w-]+", name):
            raise WorkflowError(f"{STUDY}/{kind}/{name}.yaml: expected a name of letters, digits, - and _")
    return found


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


def asked(stage):
    """The resources of a stage's jobs, by the names that Snakemake and its cluster plugins have for them.

    Such jobs `exec` their command: a shell in between would die of SIGTERM at once, and the command with it, unsaved.
    """
    wanted = getattr(RESOURCES, stage)
    resources = {"gpu": wanted.gpus, "mem_mb": wanted.memory_mb, "runtime": wanted.minutes}
    return {name: amount for name, amount in resources.items() if amount is not None}


RESOURCES = settings(ResourcesConfig, "resources") if Path(STUDY, "resources.yaml").exists() else ResourcesConfig()
EVALUATION = settings(EvaluationConfig, "evaluation")
TRAINING = settings(TrainingConfig, "training")
PAPER = settings(PaperConfig, "paper")
RUNS = [known("runs", config["run"], "--config run")] if "run" in config else names("runs")
LABELS = names("labels")
POLICIES = [known("policies", policy, f"{STUDY}/evaluation.yaml") for policy in EVALUATION.policies]
BENCHMARKS = [known("questions", benchmark, f"{STUDY}/evaluation.yaml") for benchmark in EVALUATION.benchmarks]
AUDIT = EVALUATION.audit and known("labels", EVALUATION.audit, f"{STUDY}/evaluation.yaml")
# What every checkpoint scores: the benchmarks, and the sets that thresholds and audits are made from.
SCORED = [known("questions", name, f"{STUDY}/evaluation.yaml") for name in EVALUATION.scored]
CELLS = [f"{policy}/{dataset}" for policy in POLICIES for dataset in SCORED]
BENCHMARK_CELLS = [f"{policy}/{benchmark}" for policy in POLICIES for benchmark in BENCHMARKS]


def seeds(run):
    return settings(RunConfig, "runs", run).seeds or TRAINING.seeds


def cells_of(run, datasets=SCORED):
    """What a run's checkpoints score: some runs judge fewer policies."""
    return [f"{policy}/{dataset}" for policy in settings(RunConfig, "runs", run).policies or POLICIES for dataset in datasets]


# Here and not in an input function, whose errors Snakemake takes for a missing rule.
for dataset in SCORED:
    known("rollouts", dataset, f"{STUDY}/evaluation.yaml")
for dataset in EVALUATION.annotated:
    if not Path(f"config/real/annotated/{dataset}.yaml").exists():
        raise WorkflowError(f"{STUDY}/evaluation.yaml: annotated: no config/real/annotated/{dataset}.yaml")
for labels in LABELS:
    wanted = label_settings(labels)
    if isinstance(wanted, PublishedLabelsConfig):
        continue
    known("rollouts", wanted.dataset, f"{STUDY}/labels/{labels}.yaml")
    for policy in wanted.policies:
        if known("policies", policy, f"{STUDY}/labels/{labels}.yaml") not in POLICIES:
            raise WorkflowError(
                f"{STUDY}/labels/{labels}.yaml: policy {policy!r} samples nothing; name it in {STUDY}/evaluation.yaml"
            )
for run in RUNS:
    known("labels", settings(RunConfig, "runs", run).labels, f"{STUDY}/runs/{run}.yaml")
    known("backbones", settings(RunConfig, "runs", run).backbone, f"{STUDY}/runs/{run}.yaml")
    for policy in settings(RunConfig, "runs", run).policies or ():
        if policy not in POLICIES:
            raise WorkflowError(
                f"{STUDY}/runs/{run}.yaml: policy {policy!r} is not judged; {STUDY}/evaluation.yaml names {POLICIES}"
            )
if "references" in names("runs"):
    raise WorkflowError(f"{STUDY}/runs/references.yaml: the name of what needs no run; expected another one")
reference = known("backbones", EVALUATION.reference_backbone, f"{STUDY}/evaluation.yaml")
if "proofreader" in EVALUATION.references and settings(BackboneConfig, "backbones", reference).pick is None:
    raise WorkflowError(
        f"{STUDY}/evaluation.yaml: references: backbone {reference!r} comes from elsewhere and has no mark; leave proofreader out"
    )
if AUDIT:
    audited = label_settings(AUDIT)
    if isinstance(audited, PublishedLabelsConfig):
        raise WorkflowError(f"{STUDY}/labels/{AUDIT}.yaml: the audit set has Monte Carlo labels; expected no source")
    if audited.dataset != AUDIT or audited.early_stop or audited.search == "binary" or set(audited.policies) - set(POLICIES):
        raise WorkflowError(
            f"{STUDY}/labels/{AUDIT}.yaml: the audit set labels every step of the judged policies' rollouts on {AUDIT}"
        )
for kind, results, needs in (("table", PAPER.tables, TABLE_NEEDS), ("figure", PAPER.figures, FIGURE_NEEDS)):
    for result, about in results.items():
        if result not in needs:
            raise WorkflowError(f"{STUDY}/paper.yaml: no {kind} {result!r}; expected one of {', '.join(needs)}")
        if not about and set(needs[result]) & OF_RUNS:
            raise WorkflowError(f"{STUDY}/paper.yaml: {kind} {result!r} is about runs; name at least one")
        for need in needs[result]:
            if need in ("annotated", "audit", "validation") and not getattr(EVALUATION, need):
                raise WorkflowError(f"{STUDY}/paper.yaml: {kind} {result!r} needs {need}; name it in {STUDY}/evaluation.yaml")
            if need == "validation labels":
                known("labels", EVALUATION.validation, f"{STUDY}/paper.yaml: {kind} {result!r}")
            if need.startswith("table ") and need.removeprefix("table ") not in PAPER.tables:
                raise WorkflowError(f"{STUDY}/paper.yaml: {kind} {result!r} is drawn from {need}, which is not listed")
for run in dict.fromkeys(run for about in (*PAPER.tables.values(), *PAPER.figures.values(), PAPER.report) for run in about):
    known("runs", run, f"{STUDY}/paper.yaml")


# ---- inputs of questions.smk
def upstream_questions(wildcards):
    upstream = settings(QuestionsConfig, "questions", wildcards.dataset).upstream
    user = f"{STUDY}/questions/{wildcards.dataset}.yaml"
    return [f"data/questions/{known('questions', dataset, user)}.parquet" for dataset in upstream]


def question_code(wildcards):
    kind = settings(QuestionsConfig, "questions", wildcards.dataset).source.kind
    return code("questions") + {"file": code("published"), "hub": code("published"), "gsm-symbolic": code("symbolic")}.get(
        kind, []
    )


def published(path):
    file = Path(REAL_DATA, path)
    if not file.exists():
        raise WorkflowError(f"{file} is missing: name the folder of the published data with --config real_data=FOLDER")
    return file


def source_file(source):
    """The local file that a source names; the hub's and packages' files are theirs, pinned by the settings and the lock."""
    return [published(source.path)] if source.kind == "file" else []


def question_file(wildcards):
    return source_file(settings(QuestionsConfig, "questions", wildcards.dataset).source)


def real_data(wildcards, input):
    """The folder of published files, for those who read one: a parameter of the others would rerun them where it changes."""
    return f"--real-data {REAL_DATA}" if input.get("file") else ""


def real_source_file(model, kind):
    """The file behind config/real/<kind>/<dataset>.yaml."""

    def files(wildcards):
        path = Path(f"config/real/{kind}/{wildcards.dataset}.yaml")
        return source_file(load(model, path).source) if path.exists() else [published(path.name)]

    return files


def published_solutions_file(wildcards):
    return published("gsm8k/example_model_solutions.jsonl")


# ---- inputs of policies.smk
PICKING = {"policies": PolicyConfig, "backbones": BackboneConfig}


def pretraining_questions(wildcards):
    settings_ = settings(PretrainingConfig, "pretraining", wildcards.pretraining)
    user = f"{STUDY}/pretraining/{wildcards.pretraining}.yaml"
    datasets = dict.fromkeys([*settings_.excluded, settings_.validation])
    return [f"data/questions/{known('questions', dataset, user)}.parquet" for dataset in datasets]


def pretraining_threads(wildcards):
    """What the settings ask for, on any number of cores, so that numbers do not change."""
    return settings(PretrainingConfig, "pretraining", wildcards.pretraining).threads


def pretraining_start(wildcards):
    start = settings(PretrainingConfig, "pretraining", wildcards.pretraining).start
    user = f"{STUDY}/pretraining/{wildcards.pretraining}.yaml"
    return [f"data/pretraining/{known('pretraining', start, user)}"] if start else []


def picked_pretraining(kind):
    def folder(wildcards):
        name = wildcards[0]
        pick = settings(PICKING[kind], kind, name).pick
        return [f"data/pretraining/{known('pretraining', pick.pretraining, f'{STUDY}/{kind}/{name}.yaml')}"] if pick else []

    return folder


# ---- inputs of rollouts.smk and labels.smk
def started_server(stage, policy):
    """Where the server of a policy is known once it is started; nothing for a policy without a command."""
    server = settings(PolicyConfig, "policies", policy).server
    return [f".work/servers/{stage}-{policy}.json"] if server and server.command else []


def model_code(kind):
    def files(wildcards):
        wanted = settings(PICKING[kind], kind, wildcards[0])
        return code("policies" if wanted.pick else "foreign" if wanted.hub or wanted.gguf else "served")

    return files


# ---- inputs of rollouts.smk
def server_of_rollouts(wildcards):
    return started_server("rollouts", known("policies", wildcards.policy, f"data/rollouts/{wildcards.policy}"))


# A policy's server has the threads and GPUs of its jobs, which only wait for it: Snakemake runs them all at once.
def sampling_threads(wildcards, input):
    return 0 if input.server else settings(RolloutsConfig, "rollouts", wildcards.dataset).threads


def sampling_gpus(wildcards, input):
    return 0 if input.server else RESOURCES.rollouts.gpus


def sampled_rollouts():
    """Every judged policy samples every data set that config/<study>/rollouts names."""
    return [f"data/rollouts/{policy}/{dataset}.parquet" for policy in POLICIES for dataset in names("rollouts")]


# ---- inputs of labels.smk
def label_inputs(part):
    """An input of Monte Carlo labels; published ones have none of them."""

    def paths(wildcards):
        wanted = label_settings(wildcards.labels)
        if isinstance(wanted, PublishedLabelsConfig):
            return []
        user = f"{STUDY}/labels/{wildcards.labels}.yaml"
        policies = [known("policies", policy, user) for policy in wanted.policies]
        return {
            "completer": f"data/policies/{known('policies', wanted.completer, user)}",
            "questions": f"data/questions/{known('questions', wanted.dataset, user)}.parquet",
            "rollouts": [f"data/rollouts/{policy}/{wanted.dataset}.parquet" for policy in policies],
            "server": started_server("labels", wanted.completer),
        }[part]

    return paths


def label_file(wildcards):
    wanted = label_settings(wildcards.labels)
    return source_file(wanted.source) if isinstance(wanted, PublishedLabelsConfig) else []


def label_code(wildcards):
    return code("published_labels" if isinstance(label_settings(wildcards.labels), PublishedLabelsConfig) else "labels")


def label_threads(wildcards, input):
    wanted = label_settings(wildcards.labels)
    return 1 if isinstance(wanted, PublishedLabelsConfig) else 0 if input.server else wanted.threads


def label_gpus(wildcards, input):
    return RESOURCES.labels.gpus if input.get("completer") and not input.get("server") else 0


# ---- inputs of train.smk
def run_input(part):
    def path(wildcards):
        run = settings(RunConfig, "runs", wildcards.run)
        return f"data/labels/{run.labels}.parquet" if part == "labels" else f"data/backbones/{run.backbone}"

    return path


def launcher():
    """How a training starts: by itself, or in the processes of an accelerate file, one for each GPU that is asked for."""
    if TRAINING.accelerate is None:
        return "pqm"
    file = Path(TRAINING.accelerate)
    if not file.exists():
        raise WorkflowError(f"{STUDY}/training.yaml: accelerate names {file}, which does not exist")
    if (gpus := RESOURCES.train.gpus) and (found := yaml.safe_load(file.read_text()).get("num_processes")) != gpus:
        raise WorkflowError(
            f"{file}: num_processes is {found}, {STUDY}/resources.yaml asks {gpus} GPUs for train; expected the same"
        )
    return f"accelerate launch --config_file {file} -m pqm.cli"


# ---- inputs of evaluate.smk
def outputs(wildcards, output):
    return " ".join(f"--output {path}" for path in output)


def cell_inputs(cells):
    return {
        "questions": [f"data/questions/{cell.split('/')[1]}.parquet" for cell in cells],
        "rollouts": [f"data/rollouts/{cell}.parquet" for cell in cells],
    }


def run_grades(wildcards):
    return [f"results/grades/{cell}.parquet" for cell in cells_of(wildcards.run, BENCHMARKS)]


def run_scores(wildcards):
    cells = cells_of(wildcards.run, BENCHMARKS)
    return [f"results/scores/{wildcards.run}/seed-{seed}/{cell}.parquet" for seed in seeds(wildcards.run) for cell in cells]


def run_seeds(wildcards):
    return " ".join(f"--seed {seed}" for seed in seeds(wildcards.run))


# ---- inputs of paper.smk
def folder_of_settings(wildcards, input):
    return Path(input.settings).parent


def benchmark_files():
    """Snakemake's records of the jobs that make data and models, of every run."""
    runs = names("runs")
    return [
        *(f"results/benchmarks/questions/{name}.tsv" for name in names("questions")),
        *(f"results/benchmarks/policies/pretraining-{name}.tsv" for name in names("pretraining")),
        *(f"results/benchmarks/policies/policy-{name}.tsv" for name in names("policies")),
        *(f"results/benchmarks/policies/backbone-{name}.tsv" for name in names("backbones")),
        *(f"results/benchmarks/{Path(path).relative_to('data').with_suffix('')}.tsv" for path in sampled_rollouts()),
        *(f"results/benchmarks/labels/{name}.tsv" for name in LABELS),
        *(f"results/benchmarks/train/{run}/seed-{seed}.tsv" for run in runs for seed in seeds(run)),
        *(f"results/benchmarks/evaluate/{run}/scores.tsv" for run in runs),
        *(f"results/benchmarks/evaluate/{run}/metrics.tsv" for run in [*runs, "references"]),
        *(f"results/benchmarks/evaluate/references/scores-{kind}.tsv" for kind in EVALUATION.references),
        *(f"results/benchmarks/evaluate/references/grades/{cell}.tsv" for cell in CELLS),
    ]


def needed(need, runs):
    """The files behind one need of a result, see `pqm.paper.NEEDS`."""
    if need.startswith("table "):
        return [f"results/tables/{need.removeprefix('table ')}.csv"]
    cells = [f"{cell}.parquet" for cell in CELLS]
    scorers = {f"{run}/seed-{seed}": cells_of(run) for run in runs for seed in seeds(run)}
    if "proofreader" in EVALUATION.references:
        scorers["references/proofreader"] = CELLS
    settings_files = [f"{STUDY}/runs/{run}.yaml" for run in runs]
    grades = [f"results/grades/{cell}" for cell in cells]
    scores = [f"results/scores/{scorer}/{cell}.parquet" for scorer, own in scorers.items() for cell in own]
    sampled = [f"data/rollouts/{cell}" for cell in cells] + [f"data/questions/{name}.parquet" for name in SCORED]
    everything = [*sampled_rollouts(), *(f"data/labels/{name}.parquet" for name in LABELS)]
    return {
        "metrics": [f"results/metrics/{run}.parquet" for run in [*runs, "references"]] + settings_files,
        "scores": [*scores, *sampled, *grades, *settings_files],
        "checkpoints": [f"results/checkpoints/{run}/seed-{seed}" for run in names("runs") for seed in seeds(run)],
        "grades": grades,
        "audit": [f"data/labels/{AUDIT}.parquet"],
        "validation": [],  # its scores are among "scores"
        "validation labels": [f"data/labels/{EVALUATION.validation}.parquet"],
        "annotated": [
            path
            for dataset in EVALUATION.annotated
            for path in (
                f"data/real/annotated/{dataset}",
                *(f"results/scores/{run}/seed-{seed}/annotated/{dataset}.parquet" for run in runs for seed in seeds(run)),
            )
        ],
        "benchmarks": [*benchmark_files(), *everything, *(f"data/pretraining/{name}" for name in names("pretraining"))],
        "reported": ["config/reported.csv"],
    }[need]


def result_inputs(result):
    """What a result is made from, its study's settings included."""
    about = {**PAPER.tables, **PAPER.figures}[result]
    files = [f"{STUDY}/evaluation.yaml", f"{STUDY}/training.yaml"]
    needs = {**TABLE_NEEDS, **FIGURE_NEEDS}[result]
    return list(dict.fromkeys([*files, *(path for need in needs for path in needed(need, about))]))


wildcard_constraints:
    dataset=r"[\w-]+",
    policy=r"[\w-]+",
    pretraining=r"[\w-]+",
    backbone=r"[\w-]+",
    labels=r"[\w-]+",
    run=r"[\w-]+",
    seed=r"\d+",
    kind=r"likelihood|proofreader",
