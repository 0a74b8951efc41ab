# The study, its paths, and the helpers that the other files of this folder share.
import sys
from pathlib import Path

from pqm.config import PublishedLabelsConfig
from pqm.errors import PqmError
from pqm.paper import FIGURE_NEEDS, TABLE_NEEDS
from pqm.provenance.code import code
from pqm.provenance.content_dates import ContentDates
from pqm.published_files import PUBLISHED, where_to_get
from pqm.study import freeze, frozen_file, frozen_text, killed_build, load_study, other_study, refusal, study_file
from pqm.study_check import faults
from snakemake.exceptions import WorkflowError


configfile: "params.yaml"


STUDY_NAME = config["study"]
try:
    STUDY = load_study(study_file(STUDY_NAME))
    if found := faults(STUDY):
        raise refusal(study_file(STUDY_NAME), found)
except PqmError as error:
    raise WorkflowError(str(error)) from None
if asked_elsewhere := other_study(sys.argv[1:], STUDY_NAME):
    raise WorkflowError(f"{asked_elsewhere} belongs to another study: add --config study={Path(asked_elsewhere).parts[1]}")


pathvars:
    data=f"data/{STUDY_NAME}",
    results=f"results/{STUDY_NAME}",
    logs=f"logs/{STUDY_NAME}",
    benchmarks=f"results/{STUDY_NAME}/benchmarks",
    work=f".work/{STUDY_NAME}",


# What is out of date is found by contents (docs/provenance.md). The jobs of a build read the study as it was when it began.
FROZEN = str(frozen_file(STUDY_NAME))
WORK = f".work/{STUDY_NAME}"
ContentDates.install(frozen_text(STUDY))


if workflow.is_main_process and killed_build():
    print("A build was killed and left its lock. To remove it: snakemake --unlock", file=sys.stderr)


onstart:
    try:
        freeze(STUDY, STUDY_NAME)
    except PqmError as error:
        raise WorkflowError(str(error)) from None


def recorded(command):
    """The shell command of a job whose outputs are recorded."""
    return (
        "python -m pqm.provenance record {output.record} --study {params.study} --settings {params.settings}"
        f" --inputs {{input}} --outputs {{output}} -- {command}"
    )


def on_devices(command):
    """The same for a job that gets GPUs of its own. It replaces the shell, which would die of SIGTERM at once, and the job with it."""
    return f"exec python -m pqm.devices {{resources.gpu}} {recorded(command)}"


EVALUATION = STUDY.evaluation
RESULTS = STUDY.results
POLICIES = EVALUATION.policies if EVALUATION else ()
BENCHMARKS = EVALUATION.benchmarks if EVALUATION else ()
# What every checkpoint scores: the benchmarks, and the sets that thresholds and audits are made from.
SCORED = EVALUATION.scored if EVALUATION else ()
CELLS = [f"{policy}/{dataset}" for policy in POLICIES for dataset in SCORED]
BENCHMARK_CELLS = [f"{policy}/{benchmark}" for policy in POLICIES for benchmark in BENCHMARKS]
PUBLISHED_CELLS = [f"{model}/{item.dataset}" for item in STUDY.solutions.values() for model in item.models]


def seeds(run):
    return STUDY.runs[run].seeds or STUDY.training.seeds


def cells_of(run, datasets=SCORED):
    """What a run's checkpoints score: some runs judge fewer policies."""
    return [f"{policy}/{dataset}" for policy in STUDY.runs[run].policies or POLICIES for dataset in datasets]


def repeated(option, key):
    """A parameter that repeats a command line option for each of the inputs `key`."""

    def text(wildcards, input):
        paths = input.get(key) or []
        return " ".join(f"{option} {path}" for path in ([paths] if isinstance(paths, str) else paths))

    return text


def one_of(names):
    """A constraint of a wildcard to these names; to nothing where there are none."""
    return "|".join(names) or "(?!)"


def asked(stage):
    """The resources of a stage's jobs, by the names that Snakemake and its cluster plugins have for them."""
    wanted = getattr(STUDY.resources, stage)
    resources = {"gpu": wanted.gpus, "mem_mb": wanted.memory_mb, "runtime": wanted.minutes}
    return {name: amount for name, amount in resources.items() if amount is not None}


def source_file(item):
    """The local file that an item is read from; the hub's and packages' files are theirs, pinned by the settings and the lock."""
    source = getattr(item, "source", None)
    if source is None or source.kind != "file":
        return []
    path = PUBLISHED / source.path
    if not path.exists():
        raise WorkflowError(f"{path} is missing; get it from {where_to_get(source.format)}")
    return [str(path)]


# ---- inputs of questions.smk
def upstream_questions(wildcards):
    return [f"<data>/questions/{dataset}.parquet" for dataset in STUDY.questions[wildcards.dataset].upstream]


def question_file(wildcards):
    return source_file(STUDY.questions[wildcards.dataset])


def question_code(wildcards):
    part = {"file": "published", "hub": "published", "gsm-symbolic": "symbolic"}.get(
        STUDY.questions[wildcards.dataset].source.kind
    )
    return code("questions") + (code(part) if part else [])


# ---- inputs of policies.smk
def pretraining_questions(wildcards):
    item = STUDY.pretraining[wildcards.pretraining]
    return [f"<data>/questions/{dataset}.parquet" for dataset in dict.fromkeys([*item.excluded, item.validation])]


def pretraining_threads(wildcards):
    """What the settings ask for, on any number of cores, so that numbers do not change."""
    return STUDY.pretraining[wildcards.pretraining].threads


def pretraining_start(wildcards):
    start = STUDY.pretraining[wildcards.pretraining].start
    return [f"<data>/pretraining/{start}"] if start else []


def picked_pretraining(section):
    def folder(wildcards):
        pick = getattr(STUDY, section)[wildcards[0]].pick
        return [f"<data>/pretraining/{pick.pretraining}"] if pick else []

    return folder


def model_code(section):
    def files(wildcards):
        item = getattr(STUDY, section)[wildcards[0]]
        return code("policies" if item.pick else "foreign" if item.hub or item.gguf else "served")

    return files


# ---- inputs of rollouts.smk and labels.smk
def started_server(stage, policy):
    """Where the server of a policy is known once it is started; nothing for a policy without a command."""
    server = STUDY.policies[policy].server
    return [f"<work>/servers/{stage}-{policy}.json"] if server and server.command else []


def server_of_rollouts(wildcards):
    return started_server("rollouts", wildcards.policy)


# A policy's server has the threads and GPUs of its jobs, which only wait for it: Snakemake runs them all at once.
def sampling_threads(wildcards, input):
    return 0 if input.server else STUDY.rollouts[wildcards.dataset].threads


def sampling_gpus(wildcards, input):
    return 0 if input.server else STUDY.resources.rollouts.gpus


def sampled_rollouts():
    """Every judged policy samples every data set of the section `rollouts`."""
    return [f"<data>/rollouts/{policy}/{dataset}.parquet" for policy in POLICIES for dataset in STUDY.rollouts]


def solutions_of(wildcards):
    """The published solutions of a data set."""
    return next(name for name, item in STUDY.solutions.items() if item.dataset == wildcards.dataset)


def annotated_file(wildcards):
    return source_file(STUDY.annotated[wildcards.dataset])


# ---- inputs of labels.smk
def label_inputs(part):
    """An input of Monte Carlo labels; published ones have none of them."""

    def paths(wildcards):
        item = STUDY.labels[wildcards.labels]
        if isinstance(item, PublishedLabelsConfig):
            return []
        return {
            "completer": f"<data>/policies/{item.completer}",
            "questions": f"<data>/questions/{item.dataset}.parquet",
            "rollouts": [f"<data>/rollouts/{policy}/{item.dataset}.parquet" for policy in item.policies],
            "server": started_server("labels", item.completer),
        }[part]

    return paths


def label_file(wildcards):
    return source_file(STUDY.labels[wildcards.labels])


def label_code(wildcards):
    return code("published_labels" if isinstance(STUDY.labels[wildcards.labels], PublishedLabelsConfig) else "labels")


def label_threads(wildcards, input):
    item = STUDY.labels[wildcards.labels]
    return 1 if isinstance(item, PublishedLabelsConfig) else 0 if input.server else item.threads


def label_gpus(wildcards, input):
    return STUDY.resources.labels.gpus if input.get("completer") and not input.get("server") else 0


# ---- inputs of train.smk
def run_input(part):
    def path(wildcards):
        run = STUDY.runs[wildcards.run]
        return f"<data>/labels/{run.labels}.parquet" if part == "labels" else f"<data>/backbones/{run.backbone}"

    return path


def launcher():
    """How a training starts: by itself, or in the processes of an accelerate file, one for each GPU that is asked for."""
    if STUDY.training.accelerate is None:
        return "pqm"
    return f"accelerate launch --config_file {STUDY.training.accelerate} -m pqm.cli"


# ---- inputs of evaluate.smk
def score_outputs(wildcards, output):
    return " ".join(f"--output {path}" for path in output.made)


def cell_inputs(cells):
    return {
        "questions": [f"<data>/questions/{cell.split('/')[1]}.parquet" for cell in cells],
        "rollouts": [f"<data>/rollouts/{cell}.parquet" for cell in cells],
    }


def run_grades(wildcards):
    return [f"<results>/grades/{cell}.parquet" for cell in cells_of(wildcards.run, BENCHMARKS)]


def run_scores(wildcards):
    cells = cells_of(wildcards.run, BENCHMARKS)
    return [f"<results>/scores/{wildcards.run}/seed-{seed}/{cell}.parquet" for seed in seeds(wildcards.run) for cell in cells]


def run_seeds(wildcards):
    return " ".join(f"--seed {seed}" for seed in seeds(wildcards.run))


def results_folder(wildcards, output):
    return Path(output.made).parents[1]


def data_folder(wildcards, input):
    return Path(input.rollouts[0]).parents[2]


# What metrics are made from: what scoring alone needs is no part of them.
JUDGED = "evaluation,-batch_tokens,-threads,-annotated,-audit,-validation"


# ---- inputs of paper.smk
def needed(need, runs):
    """The files behind one need of a result, see `pqm.paper`."""
    if need.startswith("table "):
        return [f"<results>/tables/{need.removeprefix('table ')}.csv"]
    grades = [f"<results>/grades/{cell}.parquet" for cell in CELLS]
    if need == "metrics":
        return [f"<results>/metrics/{run}.parquet" for run in [*runs, "references"]]
    if need == "scores":
        scorers = {f"{run}/seed-{seed}": cells_of(run) for run in runs for seed in seeds(run)}
        if "proofreader" in EVALUATION.references:
            scorers["references/proofreader"] = CELLS
        return [
            *(f"<results>/scores/{scorer}/{cell}.parquet" for scorer, own in scorers.items() for cell in own),
            *(f"<data>/rollouts/{cell}.parquet" for cell in CELLS),
            *(f"<data>/questions/{name}.parquet" for name in SCORED),
            *grades,
        ]
    if need == "annotated":
        annotated = EVALUATION.annotated if EVALUATION else ()
        scorers = [f"{run}/seed-{seed}" for run in runs for seed in seeds(run)]
        return [
            *(f"<data>/annotated/{dataset}" for dataset in annotated),
            *(f"<results>/scores/{scorer}/annotated/{dataset}.parquet" for dataset in annotated for scorer in scorers),
        ]
    if need == "everything":
        return [
            *sampled_rollouts(),
            *(f"<data>/labels/{name}.parquet" for name in STUDY.labels),
            *(f"<data>/pretraining/{name}" for name in STUDY.pretraining),
            *(f"<results>/metrics/{run}.parquet" for run in [*STUDY.runs, "references"]),
        ]
    if need == "solutions":
        return [
            *(f"<results>/grades/{cell}.parquet" for cell in PUBLISHED_CELLS),
            *(f"<data>/questions/{item.dataset}.parquet" for item in STUDY.solutions.values()),
            *(file for item in STUDY.solutions.values() for file in source_file(item)),
        ]
    return {
        "checkpoints": [f"<results>/checkpoints/{run}/seed-{seed}" for run in STUDY.runs for seed in seeds(run)],
        "grades": grades,
        "audit": [f"<data>/labels/{EVALUATION.audit}.parquet"] if EVALUATION else [],
        "validation": [],  # its scores are among "scores"
        "validation labels": [f"<data>/labels/{EVALUATION.validation}.parquet"] if EVALUATION else [],
        "reported": ["config/reported.csv"],
    }[need]


def output_folder(wildcards, output):
    return Path(output[0]).parent


def annotated_runs():
    """The runs whose results are about human-annotated solutions; other backbones may be too short for them."""
    listed = RESULTS.tables.items() if RESULTS else ()
    return list(dict.fromkeys(run for table, runs in listed if "annotated" in TABLE_NEEDS[table] for run in runs))


def result_inputs(kind, result):
    """What a table or figure is made from; asked for only where it is made, because published files may be missing."""

    def files(wildcards):
        needs = {"tables": TABLE_NEEDS, "figures": FIGURE_NEEDS}[kind][result]
        return list(dict.fromkeys(file for need in needs for file in needed(need, getattr(RESULTS, kind)[result])))

    return files


def result_settings(kind, result):
    """The parts of the study that a table or figure is made from: its own runs, and what all results share."""
    needs = {"tables": TABLE_NEEDS, "figures": FIGURE_NEEDS}[kind][result]
    tables = [need.removeprefix("table ") for need in needs if need.startswith("table ")]
    runs = [run for about in [getattr(RESULTS, kind)[result], *(RESULTS.tables[table] for table in tables)] for run in about]
    if not needs:
        return f"results.{kind}.{result}"
    judged = "evaluation,-batch_tokens,-threads" + ("" if "metrics" in needs else ",-n,-vote_subsets,-seed")
    return " ".join(
        [
            f"results.{kind}.{result}",
            "results,-tables,-figures,-report",
            *(f"results.tables.{table}" for table in tables),
            *(["runs"] if "everything" in needs else (f"runs.{run}" for run in dict.fromkeys(runs))),
            *([judged, "training.seeds"] if EVALUATION else []),
        ]
    )


wildcard_constraints:
    dataset=r"[\w-]+",
    policy=r"[\w-]+",
    pretraining=r"[\w-]+",
    backbone=r"[\w-]+",
    labels=r"[\w-]+",
    run=r"[\w-]+",
    seed=r"\d+",
    kind=r"likelihood|proofreader",
