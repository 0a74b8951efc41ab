"""The DVC stages of a study, in the generated file `config/<study>/dvc.yaml`: one stage per rule file.

A stage runs its rule file, so that Snakemake runs its jobs in parallel, and then checks the records. So DVC writes a lock only if
every output is up to date.
"""

import shlex
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from pqm.io.published_files import published_file
from pqm.paper.declared import declared
from pqm.study.layout import REPORTED, Layout, record
from pqm.study.reading import FILE, FOLDER
from pqm.study.study import StudyConfig
from pqm.workflow.code import code_of_stage

# The folders that each stage writes, see `Layout.folder`.
OUTPUTS = {
    "questions": ["questions"],
    "policies": ["pretraining", "policies", "backbones"],
    "rollouts": ["rollouts", "annotated"],
    "labels": ["labels"],
    "train": ["checkpoints"],
    "evaluate": ["grades", "scores", "metrics"],
    "paper": ["tables", "figures"],
}
ONLY_WITH_SECTION = ("pretraining", "annotated")
IN_GIT = ("tables", "figures")  # small, and worth a diff
# The folders of other stages, and the sections of the study, that each stage reads.
READS = {
    "questions": [],
    "policies": ["questions"],
    "rollouts": ["policies", "questions"],
    "labels": ["annotated", "policies", "questions", "rollouts"],
    "train": ["backbones", "labels"],
    "evaluate": ["annotated", "backbones", "questions", "rollouts", "checkpoints"],
    "paper": ["annotated", "labels", "pretraining", "questions", "rollouts", "checkpoints", "grades", "metrics", "scores"],
}
SETTINGS = {
    "questions": ["questions"],
    "policies": ["pretraining", "policies", "backbones", "precision", "arithmetic"],
    "rollouts": ["rollouts", "solutions", "annotated", "evaluation.policies", "precision", "arithmetic"],
    "labels": ["labels", "precision", "arithmetic"],
    "train": ["runs", "training", "precision", "arithmetic"],
    "evaluate": ["runs", "training.seeds", "evaluation", "solutions", "precision", "arithmetic"],
    "paper": ["results", "runs", "training.seeds", "evaluation", "solutions"],
}


def folders_of(stage: str, study: str) -> list[str]:
    """The folders that a stage of a study writes to."""
    return [Layout.of(study).folder(content) for content in OUTPUTS[stage]]


def pages_of(study: str) -> list[str]:
    """The files that the stage `paper` writes outside its folders: the overview and the report, with their records."""
    layout = Layout.of(study)
    return [file for page in (layout.overview, layout.report) for file in (page, record(page))]


def dvc_file(study: str) -> Path:
    """The path of a study's `dvc.yaml`."""
    return FOLDER / study / "dvc.yaml"


def dvc_text(study: StudyConfig, name: str) -> str:
    """The text of a study's `dvc.yaml`."""
    content: dict[str, Any] = {"stages": _stages(study, name) if study.runs else _stage_per_item(study, name)}
    if study.runs:
        content |= _shown(name)
    yaml = YAML()
    yaml.width = 10_000
    yaml.indent(mapping=2, sequence=4, offset=2)
    text = StringIO()
    yaml.dump(content, text)
    return f"# Generated from {FOLDER / name / FILE} by `pqm study dvc {name}`.\n{text.getvalue()}"


def _stages(study: StudyConfig, name: str) -> dict[str, dict[str, Any]]:
    layout = Layout.of(name)
    stages = {}
    for stage in OUTPUTS:
        reads, writes = (
            [one for one in contents if one not in ONLY_WITH_SECTION or getattr(study, one)]
            for contents in (READS[stage], OUTPUTS[stage])
        )
        deps = [layout.folder(one) for one in reads]
        outs = [_out(layout.folder(one), one in IN_GIT) for one in writes]
        if stage == "paper":
            deps = [REPORTED, *deps]
            if study.results and any("rebuilds" in declared("tables", table).needs for table in study.results.tables):
                deps.append(layout.rebuilds)
            report = bool(study.results and study.results.report)
            pages = [(layout.overview, True), *([(layout.report, False)] if report else [])]
            outs += [_out(file, in_git) for page, in_git in pages for file in (page, record(page))]
        stages[stage] = _stage(study, name, stage, deps, outs)
    return stages


def _stage_per_item(study: StudyConfig, name: str) -> dict[str, dict[str, Any]]:
    """The stages of published data: one per item, because few users have every file. Results depend on all items."""
    layout = Layout.of(name)
    stages = {}
    for section, stage, path in (("questions", "questions", layout.questions), ("annotated", "rollouts", layout.annotated)):
        for item, settings in getattr(study, section).items():
            made = path(item)
            outs = [_out(file) for file in (made, record(made))]
            stages[f"{section}-{item}"] = _stage(
                study, name, stage, _local_file(settings.source), outs, [f"{section}.{item}"], [made]
            )
    for item, solutions in study.solutions.items():
        questions = layout.questions(solutions.dataset)
        rollouts = [layout.rollouts(model, solutions.dataset) for model in solutions.models]
        grades = [layout.grades(model, solutions.dataset) for model in solutions.models]
        for stage, files, reads in (
            ("rollouts", rollouts, [questions, *_local_file(solutions.source)]),
            ("evaluate", grades, [questions, *rollouts]),
        ):
            outs = [_out(file) for path in files for file in (path, record(path))]
            stages[f"{stage}-{item}"] = _stage(study, name, stage, reads, outs, [f"solutions.{item}"], files)
    if study.results:
        deps = []
        for solutions in study.solutions.values():
            deps += [layout.questions(solutions.dataset), *_local_file(solutions.source)]
            deps += [layout.grades(model, solutions.dataset) for model in solutions.models]
        outs = [_out(file, True) for file in (layout.folder("tables"), layout.overview, record(layout.overview))]
        stages["paper"] = _stage(study, name, "paper", deps, outs)
    return stages


def _local_file(source: Any) -> list[str]:
    path = published_file(source)
    return [str(path)] if path else []


def _out(path: str, in_git: bool = False) -> dict[str, Any]:
    """An output that DVC does not delete before its stage runs, because records determine which of its files are up to date."""
    return {path: _in_one_line({"persist": True} | ({"cache": False} if in_git else {}))}


def _stage(
    study: StudyConfig,
    name: str,
    stage: str,
    deps: list[str],
    outs: list[dict[str, Any]],
    settings: list[str] | None = None,
    targets: Sequence[str] = (),
) -> dict[str, Any]:
    wanted = settings or [key for key in SETTINGS[stage] if _is_set(study, key.split(".")[0])]
    run = ["snakemake", "-s", f"workflow/rules/{stage}.smk", "--config", f"study={name}", *(["--", *targets] if targets else [])]
    check = ["python", "-m", "pqm.provenance", "check", name, stage, *targets]
    return {
        "wdir": "../..",
        "cmd": [shlex.join(run), shlex.join(check)],
        "params": [{f"{FOLDER}/{name}/{FILE}": _in_one_line(wanted)}],
        "deps": [
            *deps,
            *code_of_stage(stage),
            "src/pqm/study",
            "workflow/rules/common.smk",
            f"workflow/rules/{stage}.smk",
        ],
        "outs": outs,
    }


def _is_set(study: StudyConfig, key: str) -> bool:
    """Whether a study has a section, or sets a value other than the default; DVC refuses keys that are not in the file."""
    return key in study.model_fields_set and bool(getattr(study, key))


def _in_one_line(content: Any) -> Any:
    """A list or mapping that is written on one line."""
    inline = CommentedMap(content) if isinstance(content, dict) else CommentedSeq(content)
    inline.fa.set_flow_style()
    return inline


def _shown(name: str) -> dict[str, Any]:
    """The files that `dvc metrics`, `dvc params` and `dvc plots` show; these paths are relative to the folder of `dvc.yaml`."""
    layout = Layout.of(name)
    plots = {"best_of_n": ("n", "accuracy", "Best-of-n"), "calibration": ("predicted", "right", "Calibration")}
    return {
        "metrics": [f"../../{layout.headline}"],
        "params": [FILE],
        "plots": [
            {f"../../{layout.figure(figure, 'csv')}": _in_one_line({"x": x, "y": y, "template": "scatter", "title": title})}
            for figure, (x, y, title) in plots.items()
        ],
    }
