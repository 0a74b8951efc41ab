"""The DVC stages of a study: `config/<study>/dvc.yaml` is generated from here, one stage per rule file.

A stage runs its rule file, so that Snakemake keeps its parallelism inside a stage, and then checks the records: DVC writes a
lock only where every output was made from what is there now.
"""

from pathlib import Path
from typing import Any

from pqm.config import FileSource, StudyConfig
from pqm.provenance.code import code_of_stage
from pqm.study import FILE, FOLDER

# What each stage writes, below `data/<study>` or `results/<study>`.
OUTPUTS = {
    "questions": ["data/questions"],
    "policies": ["data/pretraining", "data/policies", "data/backbones"],
    "rollouts": ["data/rollouts", "data/annotated"],
    "labels": ["data/labels"],
    "train": ["results/checkpoints"],
    "evaluate": ["results/grades", "results/scores", "results/metrics"],
    "paper": ["results/tables", "results/figures"],
}
# Only where the study has this section.
SECTIONS = {"data/pretraining": "pretraining", "data/annotated": "annotated"}
IN_GIT = {"results/tables", "results/figures"}  # small, and worth a diff
REPORT = ["results/report.html", "results/report.record.json"]
# What each stage reads of other stages' outputs, and of the study.
READS = {
    "questions": [],
    "policies": ["data/questions"],
    "rollouts": ["data/policies", "data/questions"],
    "labels": ["data/policies", "data/questions", "data/rollouts"],
    "train": ["data/backbones", "data/labels"],
    "evaluate": ["data/annotated", "data/backbones", "data/questions", "data/rollouts", "results/checkpoints"],
    "paper": [
        "config/reported.csv",
        "data/annotated",
        "data/labels",
        "data/pretraining",
        "data/questions",
        "data/rollouts",
        "results/checkpoints",
        "results/grades",
        "results/metrics",
        "results/scores",
        "workflow/report",
    ],
}
SETTINGS = {
    "questions": ["questions"],
    "policies": ["pretraining", "policies", "backbones"],
    "rollouts": ["rollouts", "solutions", "annotated", "evaluation.policies"],
    "labels": ["labels"],
    "train": ["runs", "training"],
    "evaluate": ["runs", "training.seeds", "evaluation", "solutions"],
    "paper": ["results", "runs", "training.seeds", "evaluation", "solutions"],
}
OWN = ("data/", "results/")  # of the study; other paths are the project's


def located(path: str, study: str) -> str:
    """Where a path of a study lies: `data/questions` of the study `demo` is `data/demo/questions`."""
    return f"{path.split('/')[0]}/{study}/{path.split('/', 1)[1]}" if path.startswith(OWN) else path


def folders_of(stage: str, study: str) -> list[str]:
    """The folders that a stage of a study writes to."""
    return [located(path, study) for path in OUTPUTS[stage]]


def dvc_file(study: str) -> Path:
    """Where DVC reads the stages of a study."""
    return FOLDER / study / "dvc.yaml"


def dvc_text(study: StudyConfig, name: str) -> str:
    """The text of `dvc.yaml` of a study."""
    stages = _stages(study, name) if study.runs else _stage_per_item(study, name)
    lines = [f"# Generated from {FOLDER / name / FILE} by `pqm study dvc {name}`.", "stages:"]
    for stage, content in stages.items():
        lines += [f"  {stage}:", *_lines(content, "    ")]
    if study.runs:
        lines += _shown(name)
    return "\n".join(lines) + "\n"


def _stages(study: StudyConfig, name: str) -> dict[str, dict[str, Any]]:
    stages = {}
    for stage, outputs in OUTPUTS.items():
        if stage == "paper" and study.results and study.results.report:
            outputs = [*outputs, *REPORT]
        reads, writes = (
            [path for path in paths if path not in SECTIONS or getattr(study, SECTIONS[path])]
            for paths in (READS[stage], outputs)
        )
        stages[stage] = _stage(
            study, name, stage, "", [located(path, name) for path in reads], [_out(path, name) for path in writes]
        )
    return stages


def _stage_per_item(study: StudyConfig, name: str) -> dict[str, dict[str, Any]]:
    """Published data: each item by itself, because few users have every file; results wait for all of them."""
    stages = {}
    for section, stage, target in (
        ("questions", "questions", "data/questions/{}.parquet"),
        ("annotated", "rollouts", "data/annotated/{}"),
    ):
        for item, settings in getattr(study, section).items():
            made = [target.format(item), f"{target.format(item).removesuffix('.parquet')}.record.json"]
            stages[f"{section}-{item}"] = _stage(
                study,
                name,
                stage,
                located(made[0], name),
                _local_file(settings.source),
                [_out(path, name) for path in made],
                [f"{section}.{item}"],
            )
    for item, solutions in study.solutions.items():
        questions = f"data/{name}/questions/{solutions.dataset}.parquet"
        for stage, folder, reads in (
            ("rollouts", "data/rollouts", [questions, *_local_file(solutions.source)]),
            ("evaluate", "results/grades", [questions, f"data/{name}/rollouts/{{}}.parquet"]),
        ):
            cells = [f"{model}/{solutions.dataset}" for model in solutions.models]
            made = [f"{folder}/{cell}{ending}" for cell in cells for ending in (".parquet", ".record.json")]
            targets = " ".join(located(f"{folder}/{cell}.parquet", name) for cell in cells)
            deps = list(dict.fromkeys(path.format(cell) for cell in cells for path in reads))
            stages[f"{stage}-{item}"] = _stage(
                study, name, stage, targets, deps, [_out(path, name) for path in made], [f"solutions.{item}"]
            )
    if study.results:
        deps = ["workflow/report"]
        for solutions in study.solutions.values():
            deps += [f"data/{name}/questions/{solutions.dataset}.parquet", *_local_file(solutions.source)]
            deps += [f"results/{name}/grades/{model}/{solutions.dataset}.parquet" for model in solutions.models]
        stages["paper"] = _stage(study, name, "paper", "", deps, [_out("results/tables", name)])
    return stages


def _local_file(source: Any) -> list[str]:
    return [f"data/published/{source.path}"] if isinstance(source, FileSource) else []


def _out(path: str, name: str) -> dict[str, dict[str, bool]]:
    """An output that DVC does not delete before its stage runs; records say which of its files are right."""
    return {located(path, name): {"persist": True} | ({"cache": False} if path in IN_GIT else {})}


def _stage(
    study: StudyConfig,
    name: str,
    stage: str,
    targets: str,
    deps: list[str],
    outs: list[dict[str, dict[str, bool]]],
    settings: list[str] | None = None,
) -> dict[str, Any]:
    checked = f"python -m pqm.provenance check {name} {stage}" + (f" {targets}" if targets else "")
    run = f"snakemake -s workflow/rules/{stage}.smk --config study={name}" + (f" -- {targets}" if targets else "")
    wanted = settings or [key for key in SETTINGS[stage] if getattr(study, key.split(".")[0])]
    return {
        "wdir": "../..",
        "cmd": [run, checked],
        "params": [{f"{FOLDER}/{name}/{FILE}": wanted}],
        "deps": [
            *deps,
            *code_of_stage(stage),
            "src/pqm/config.py",
            "workflow/rules/common.smk",
            f"workflow/rules/{stage}.smk",
        ],
        "outs": outs,
    }


def _lines(content: dict[str, Any], pad: str) -> list[str]:
    lines = []
    for key, value in content.items():
        if isinstance(value, str):
            lines.append(f"{pad}{key}: {value}")
            continue
        lines.append(f"{pad}{key}:")
        for entry in value:
            if isinstance(entry, str):
                lines.append(f"{pad}  - {entry}")
            else:
                ((path, inner),) = entry.items()
                told = (
                    ", ".join(inner)
                    if isinstance(inner, list)
                    else ", ".join(f"{k}: true" if v else f"{k}: false" for k, v in inner.items())
                )
                lines.append(f"{pad}  - {path}: " + (f"[{told}]" if isinstance(inner, list) else f"{{{told}}}"))
    return lines


def _shown(name: str) -> list[str]:
    """What `dvc metrics`, `dvc params` and `dvc plots` show; these paths start at the file's own folder."""
    tables, figures = f"../../results/{name}/tables", f"../../results/{name}/figures"
    return [
        "",
        "metrics:",
        f"  - {tables}/headline.json",
        "params:",
        f"  - {FILE}",
        "plots:",
        f"  - {figures}/best_of_n.csv: {{x: n, y: accuracy, template: scatter, title: Best-of-n}}",
        f"  - {figures}/calibration.csv: {{x: predicted, y: right, template: scatter, title: Calibration}}",
    ]
