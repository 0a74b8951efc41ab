# The study, its paths, and small functions for the other rule files.
import re
import sys
from pathlib import Path

from pqm.arithmetic import pin
from pqm.errors import PqmError
from pqm.io.published_files import source_file
from pqm.models.devices import JOBS_PER_GPU, visible
from pqm.provenance.content_dates import ContentDates
from pqm.study.faults import refusal
from pqm.study.freezing import freeze, frozen_file, frozen_text, killed_build
from pqm.study.layout import Layout, record, reference_scorer, scorer, work_folder
from pqm.study.reading import load_study, other_study, study_file
from pqm.workflow.checks import faults
from pqm.workflow.code import code, result_code
from pqm.workflow.plan import ANNOTATED, REFERENCES, Plan
from snakemake.exceptions import WorkflowError

# Every rule file includes this file, and Snakemake runs it each time. The study is read and checked only once.
if "STUDY" not in globals():

    configfile: "params.yaml"

    STUDY_NAME = str(config["study"])
    try:
        STUDY = load_study(study_file(STUDY_NAME))
        if found := faults(STUDY):
            raise refusal(study_file(STUDY_NAME), found)
    except PqmError as error:
        raise WorkflowError(str(error)) from None
    if asked_elsewhere := other_study(sys.argv[1:], STUDY_NAME):
        raise WorkflowError(
            f"{asked_elsewhere} belongs to another study: add --config study={Path(asked_elsewhere).parts[1]}"
        )
    if workflow.is_main_process and killed_build():
        print("A build was killed and left its lock. To remove it: snakemake --unlock", file=sys.stderr)
    # Jobs on this machine take turns on its GPUs, and several are started per GPU (pqm.models.devices). `dvc repro` cannot pass
    # --resources, so they are counted here. With fewer GPUs than a job requests, Snakemake would silently lower the request; so
    # they are not counted then, and the job itself refuses to run.
    if STUDY.device == "cuda" and not workflow.non_local_exec and "gpu" not in workflow.global_resources:
        gpus = len(visible())
        if gpus >= max(STUDY.gpus(stage) for stage, _ in STUDY.resources):
            workflow.register_resource("gpu", gpus * JOBS_PER_GPU)


if STUDY.arithmetic == "pinned":
    pin()
LAYOUT = Layout.of(STUDY_NAME)
PLAN = Plan(STUDY, LAYOUT)
EVALUATION = STUDY.evaluation
# Jobs read the study as it was at the start of the build. Outdated outputs are found by content (docs/provenance.md).
FROZEN = str(frozen_file(STUDY_NAME))
WORK = str(work_folder(STUDY_NAME))
ContentDates.install(frozen_text(STUDY))


pathvars:
    logs=f"logs/{STUDY_NAME}",
    work=WORK,


onstart:
    try:
        freeze(STUDY, STUDY_NAME)
    except PqmError as error:
        raise WorkflowError(str(error)) from None


# Every value in a shell command is quoted (`:q`), because paths may contain spaces. Parameters of several words are lists.
def recorded(command, options=""):
    """The shell command of a job whose outputs are recorded."""
    return (
        "python -m pqm.provenance record {output.record:q} --study {params.study:q} --settings {params.settings:q}"
        f" --inputs {{input:q}} --outputs {{output:q}}{options} -- {command}"
    )


def on_devices(command):
    """The same for a job with exclusive GPUs. `exec` replaces the shell, which would end at SIGTERM and take the job with it."""
    return f"exec {recorded(command, ' --gpus {resources.gpu:q}')}"


def benchmark_file(path):
    """The file for the time and memory of a job."""
    return f"{LAYOUT.benchmarks}/{path}.tsv"


def repeated(option, key):
    """A parameter that repeats a command line option for each input `key`."""

    def words(wildcards, input):
        paths = input.get(key) or []
        return each(option, [paths] if isinstance(paths, str) else paths)

    return words


def each(option, values):
    """The words of a command line that give an option once per value."""
    return [word for value in values for word in (option, str(value))]


def labelled(content):
    """A parameter with the question table or the rollout tables of a label set."""

    def words(wildcards, input):
        files = [f"{folder}/{content}.parquet" for folder in input.annotated] if input.annotated else input.get(content, [])
        return each(f"--{content}", [files] if isinstance(files, str) else files)

    return words


def output_folder(wildcards, output):
    return Path(output[0]).parent


def score_outputs(wildcards, output):
    return each("--output", output.made)


def label_threads(wildcards, input):
    """The threads of a label job: 0 with a server, because the job only waits for it, and 1 for published labels."""
    return 1 if not PLAN.completer(wildcards.labels) else 0 if input.server else STUDY.labels[wildcards.labels].threads


def label_gpus(wildcards, input):
    return STUDY.gpus("labels") if input.get("completer") and not input.get("server") else 0


def one_of(names):
    """A wildcard constraint that matches only these names."""
    return "|".join(map(re.escape, names)) or "(?!)"


def asked(stage):
    """The resources of a stage's jobs, with the names used by Snakemake and its cluster plugins."""
    wanted = getattr(STUDY.resources, stage)
    resources = {"gpu": STUDY.gpus(stage), "mem_mb": wanted.memory_mb, "runtime": wanted.minutes}
    return {name: amount for name, amount in resources.items() if amount is not None}


def published_file(item):
    """The local file of an item with published data."""
    try:
        return source_file(item)
    except PqmError as error:
        raise WorkflowError(str(error)) from None


def started_server(stage, policy):
    """The file with the address of a policy's started server; none for a policy without a server command."""
    server = STUDY.policies[policy].server if policy else None
    return [f"<work>/servers/{stage}-{policy}.json"] if server and server.command else []


wildcard_constraints:
    dataset=r"[\w-]+",
    policy=r"[\w-]+",
    pretraining=r"[\w-]+",
    backbone=r"[\w-]+",
    labels=r"[\w-]+",
    run=r"[\w-]+",
    seed=r"\d+",
    kind=r"likelihood|step-classifier",
