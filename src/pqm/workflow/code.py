"""The code of each kind of job, found by following the package's imports.

These files are inputs of the job's rule and dependencies of its DVC stage. So an edit reruns the jobs that it may affect, and no
others.
"""

import importlib.util
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import grimp

from pqm.losses.common.loss import module_of
from pqm.paper.declared import declared, names

# The module at which each kind of job enters the package.
ENTRIES = {
    "questions": "pqm.questions.generate",
    "pretraining": "pqm.policies.pretraining",
    "models": "pqm.policies.models",
    "rollouts": "pqm.rollouts.sample",
    "annotated": "pqm.rollouts.annotated",
    "solutions": "pqm.rollouts.published",
    "labels": "pqm.labels.monte_carlo",
    "published_labels": "pqm.labels.published",
    "learning_rate": "pqm.train.learning_rates",
    "train": "pqm.train.trainer",
    "grades": "pqm.evaluate.grades",
    "scores": "pqm.evaluate.scores",
    "metrics": "pqm.evaluate.metrics",
    "headline": "pqm.paper.headline",
    "report": "pqm.paper.report",
    "overview": "pqm.paper.overview",
}
OF_STAGE = {
    "questions": ["questions"],
    "policies": ["pretraining", "models"],
    "rollouts": ["rollouts", "annotated", "solutions"],
    "labels": ["labels", "published_labels"],
    "train": ["learning_rate", "train"],
    "evaluate": ["grades", "scores", "metrics"],
    "paper": ["headline", "report", "overview"],
}
# Modules that cannot change a result: they validate inputs and outputs, report, or start other code.
NOT_IN_RESULTS = (
    "pqm.cli",
    "pqm.errors",
    "pqm.io.file_lock",
    "pqm.io.formats",
    "pqm.io.hub",
    "pqm.io.published_files",
    "pqm.io.records",
    "pqm.io.shard_cache",
    "pqm.memory",
    "pqm.models.devices",
    "pqm.models.throughput",
    "pqm.progress",
    "pqm.provenance",
    "pqm.study",
    "pqm.workflow",
)
# A module of this package is imported by name, so no import shows it.
LOADED_BY_NAME = {"pqm.models.policy": "pqm.models.sampling"}
REPORT_TEMPLATE = "src/pqm/paper/report.html.jinja"


def code(kind: str, losses: Iterable[str] = ()) -> list[str]:
    """The code files of a kind of job, with those of the given losses."""
    template = [REPORT_TEMPLATE] if kind == "report" else []
    return sorted({*_files([ENTRIES[kind]]), *template, *(file for loss in losses for file in loss_code(loss))})


def loss_code(loss: str) -> list[str]:
    """The code files of a loss. For a user's own loss it is its module, if it is inside the working directory."""
    module = module_of(loss)
    if ":" not in loss:
        return _files([module])
    spec = importlib.util.find_spec(module)
    path = Path(spec.origin) if spec and spec.origin else None
    return [str(path.relative_to(Path.cwd()))] if path and path.is_relative_to(Path.cwd()) else []


def result_code(kind: str, name: str, losses: Iterable[str]) -> list[str]:
    """The code files of a table or figure, with those of the losses that it names.

    Args:
        kind: `tables` or `figures`.
    """
    return sorted({*_files([declared(kind, name).module]), *(file for loss in losses for file in loss_code(loss))})


def code_of_stage(stage: str) -> list[str]:
    """The files and folders of code that the jobs of a stage may depend on, the same for every study.

    Losses and results are whole folders here, so that a study that names another one needs no other stages.
    """
    files = {file for kind in OF_STAGE[stage] for file in code(kind)}
    folders = ["src/pqm/losses"] if stage in ("train", "evaluate", "paper") else []
    if stage == "paper":
        folders.append("src/pqm/paper")
        files |= {file for kind in ("tables", "figures") for name in names(kind) for file in result_code(kind, name, [])}
    return sorted([*folders, *(file for file in files if not file.startswith(tuple(f"{folder}/" for folder in folders)))])


def _files(modules: Iterable[str]) -> list[str]:
    """The files of modules and of everything that they import, directly or indirectly."""
    found: set[str] = set()
    pending = list(modules)
    while pending:
        module = pending.pop()
        if module not in found and not _is_left_out(module):
            found.add(module)
            pending += _graph().find_modules_directly_imported_by(module)
            if module in LOADED_BY_NAME:
                pending += _graph().find_children(LOADED_BY_NAME[module])
    return sorted(f"src/{module.replace('.', '/')}.py" for module in found if not _is_package(module))


@cache
def _graph() -> grimp.ImportGraph:
    return grimp.build_graph("pqm", cache_dir=None, exclude_type_checking_imports=True)


def _is_package(module: str) -> bool:
    """Whether a module is a package; all files `__init__.py` are empty."""
    return bool(_graph().find_children(module)) or module == "pqm"


def _is_left_out(module: str) -> bool:
    return module.startswith(tuple(f"{name}." for name in NOT_IN_RESULTS)) or module in NOT_IN_RESULTS
