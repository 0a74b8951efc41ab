"""The jobs that each kind of edit reruns, in a built project and in a clone after `make pull`; this writes `docs/reruns.md`.

`PQM_WRITE_DOCS=1 pytest tests/workflow/test_reruns.py` writes the page; without the variable the page is compared.
"""

import json
import os
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from .conftest import ROOT, STAGES, STUDY, Project, make_pull

PAGE = ROOT / "docs/reruns.md"
LOSS, FIGURE, MODELS = "src/pqm/losses/bce.py", "src/pqm/paper/figures/margin.py", "src/pqm/study/training.py"


@dataclass(frozen=True)
class Edit:
    """An edit of a file, the rules that it must rerun directly (none: nothing runs), and rules that it must not rerun."""

    what: str
    path: str
    change: Callable[[str], str]
    first: tuple[str, ...] = ()
    spared: tuple[str, ...] = ()
    date: float | None = None  # the date of the file afterwards, as after `mv` or `cp -p` of an older file


def replaced(*pairs: tuple[str, str]) -> Callable[[str], str]:
    def change(text: str) -> str:
        for old, new in pairs:
            assert old in text, f"no {old!r}"
            text = text.replace(old, new, 1)
        return text

    return change


def ending(end: str) -> Callable[[str], str]:
    return lambda text: text + end


BCE = ("bce: {loss: bce,", "bce: {loss: bce, learning_rate: 2e-4,")
NEW_POLICY = (
    ("\npolicies:\n", "\npolicies:\n  early: {pick: {pretraining: error-detection, share: 0.5}}\n"),
    ("evaluation:\n  policies: [weak, final]", "evaluation:\n  policies: [weak, final, early]"),
)
NEW_BENCHMARK = (
    ("\nquestions:\n", "\nquestions:\n  more: {source: {kind: word-problems, questions: 4, facts: [1, 2], seed: 9}}\n"),
    (
        "\nrollouts:\n",
        "\nrollouts:\n  more: {samples: 8, temperature: 0.7, max_new_tokens: 40, questions_per_batch: 5, seed: 15}\n",
    ),
    ("benchmarks: [test, perturbed]", "benchmarks: [test, perturbed, more]"),
)
NEW_LABELS = (
    (
        "\nlabels:\n",
        "\nlabels:\n  other: {dataset: train, policies: [weak], completer: final, completions: 1, temperature: 1.0,"
        " max_new_tokens: 40, questions_per_batch: 5, seed: 24}\n",
    ),
)
EDITS = [
    Edit("a comment in the study", STUDY, ending("# a comment\n")),
    Edit("keys in another order, another way to write a number", STUDY, replaced(("{loss: bce, labels: train,", "{labels: train, loss: bce,"), ("1.0e-4", "1e-04"))),
    Edit("the seed of a data set", STUDY, replaced(("facts: [2, 3]\n      seed: 7", "facts: [2, 3]\n      seed: 8")), ("question_set",)),
    Edit("the loss weight of a pretraining", STUDY, replaced(("step_head_weight: 1.0\n", "step_head_weight: 2.0\n")), ("pretraining",), ("sample", "label_set", "question_set")),
    Edit("the snapshot of a policy", STUDY, replaced(("share: 0.5}", "share: 0.4}")), ("policy",), ("pretraining", "backbone")),
    Edit("the snapshot of a backbone", STUDY, replaced(("error-detecting: {pick: {pretraining: error-detection}", "error-detecting: {pick: {pretraining: error-detection, share: 0.5}")), ("backbone",), ("sample", "label_set")),
    Edit("the sampling temperature of a data set", STUDY, replaced(("test: {samples: 8, temperature: 0.7", "test: {samples: 8, temperature: 0.8")), ("sample",), ("reward_model", "label_set", "pretraining")),
    Edit("the completions of a label set", STUDY, replaced(("dataset: train\n    policies: [weak, final]\n    completer: final\n    completions: 2", "dataset: train\n    policies: [weak, final]\n    completer: final\n    completions: 3")), ("label_set",), ("sample",)),
    Edit("the learning rate of a run", STUDY, replaced(BCE), ("reward_model",), ("sample", "label_set", "scores_pqm-zeta4")),
    Edit("the same edit with an older date (`mv`, `cp -p`)", STUDY, replaced(BCE), ("reward_model",), ("sample", "label_set", "scores_pqm-zeta4"), date=1e9),
    Edit("the learning rate of all runs", STUDY, replaced(("learning_rate: 1.0e-4", "learning_rate: 2e-4")), ("reward_model",), ("sample", "label_set")),
    Edit("how often a training saves its state", STUDY, replaced(("checkpoint_every: 5", "checkpoint_every: 6"))),
    Edit("one more training seed", STUDY, replaced(("seeds: [0]", "seeds: [0, 1]")), ("reward_model",), ("sample", "label_set")),
    Edit("`n` of the evaluation", STUDY, replaced(("n: [1, 2, 8]", "n: [1, 2, 4, 8]")), ("metrics", "reference_metrics"), ("grades", "scores_bce", "reward_model", "figure_theory", "figure_separation")),
    Edit("the runs of a result", STUDY, replaced(("    case_study: [bce, pqm-zeta4]", "    case_study: [bce]")), ("table_case_study",), ("metrics", "table_main", "figure_margin")),
    Edit("the resources of a job", STUDY, ending("\nresources:\n  train: {memory_mb: 2000}\n")),
    Edit("an added run", STUDY, replaced(("\nruns:\n", "\nruns:\n  mse: {loss: mse, labels: train, backbone: error-detecting}\n")), ("reward_model",), ("sample", "label_set", "scores_bce", "table_main")),
    Edit("an added policy", STUDY, replaced(*NEW_POLICY), ("policy", "sample"), ("pretraining", "label_set", "reward_model")),
    Edit("an added benchmark", STUDY, replaced(*NEW_BENCHMARK), ("question_set", "sample"), ("pretraining", "label_set", "reward_model")),
    Edit("an added label set", STUDY, replaced(*NEW_LABELS), ("label_set",), ("sample", "reward_model", "table_main")),
    Edit("a removed figure", STUDY, replaced(("    theory: []\n", "")), ("page", "overview"), ("table_main", "figure_margin")),
    Edit("a comment in the file of a loss", LOSS, ending("\n# a comment\n"), ("reward_model", "metrics"), ("sample", "label_set", "pretraining", "scores_pqm-zeta4")),
    Edit("the file of a figure", FIGURE, ending("\n# another line\n"), ("figure_margin", "page", "overview"), ("table_main", "metrics", "figure_theory")),
    Edit("a changed default in the settings model", MODELS, replaced(("weight_decay: float = Field(0.0", "weight_decay: float = Field(0.01")), ("reward_model",), ("sample", "label_set", "grades")),
    Edit("the command of a rule", "workflow/rules/evaluate.smk", replaced(("--output {output.made:q} {params.seeds:q}", "--output {output.made:q}  {params.seeds:q} --seed 0")), ("metrics",), ("grades", "scores_bce", "reference_metrics")),
    Edit("a comment in a rule file", "workflow/rules/train.smk", ending("# a comment\n")),
    Edit("a published number", "config/reported.csv", ending("weak,test,bce,8,0.5,somewhere\n"), ("table_paper_comparison",), ("table_main",)),
    Edit("the chosen study, and back", "params.yaml", lambda text: "study: demo\n"),
]  # fmt: skip


def planned(project: Project) -> Counter[str]:
    """The jobs of a plan by rule."""
    return Counter(rule for rule, _ in project.planned("--config", "study=tiny", "--", "all"))


def changed_stages(project: Project) -> set[str]:
    """The stages that DVC would start: those that changed, and all after them."""
    status = json.loads(project.run("dvc", "status", "--json", "config/tiny/dvc.yaml") or "{}")
    changed = {name.split(":")[-1] for name in status if name.startswith("config/tiny")}
    return set(STAGES[min((STAGES.index(name) for name in changed), default=len(STAGES)) :])


def in_order(jobs: Counter[str]) -> list[tuple[str, int]]:
    """The jobs by stage and name, because the order of a plan varies."""
    return sorted(jobs.items(), key=lambda job: (STAGES.index(stage_of(job[0])), job[0]))


def stage_of(rule: str) -> str:
    kinds = {
        "question_set": "questions", "pretraining": "policies", "policy": "policies", "backbone": "policies", "sample": "rollouts",
        "label_set": "labels", "reward_model": "train", "grades": "evaluate", "metrics": "evaluate", "reference_metrics": "evaluate",
        "reference_scores": "evaluate",
    }  # fmt: skip
    return kinds.get(rule, "evaluate" if rule.startswith("scores_") else "paper")


@pytest.fixture(scope="module")
def clone(dvc_project: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("reruns") / "pqm"
    dvc_project.run("git", "clone", "-q", str(dvc_project.folder), str(folder))
    made = Project(folder)
    make_pull(made)
    return made


ROWS: dict[str, str] = {}


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.what)
def test_only_what_depends_on_an_edit_runs(edit: Edit, dvc_project: Project, clone: Project) -> None:
    found = []
    for project in (dvc_project, clone):
        file = project.folder / edit.path
        before = file.read_text()
        try:
            file.write_text(edit.change(before))
            if edit.date is not None:
                os.utime(file, (edit.date, edit.date))
            found.append(planned(project))
            stages = changed_stages(project)
        finally:
            file.write_text(before)
    jobs, after_pull = found
    assert after_pull == jobs, "a clone that pulled plans the same"
    assert set(edit.first) <= set(jobs)
    assert not set(edit.spared) & set(jobs)
    assert bool(jobs) == bool(edit.first)
    assert {stage_of(rule) for rule in jobs} <= stages, "DVC starts every stage that has something to run"
    told = ", ".join(f"{count} {rule}" if count > 1 else rule for rule, count in in_order(jobs) if stage_of(rule) != "paper")
    results = sum(count for rule, count in jobs.items() if stage_of(rule) == "paper")
    started = [stage for stage in STAGES if stage in stages]
    ROWS[edit.what] = f"| {edit.what} | {told or '-'} | {results or '-'} | {', '.join(started) or '-'} |"


def page() -> str:
    head = """# What reruns

The jobs that `snakemake` and `dvc repro` run after an edit of the tiny study. This page is written and checked by
`tests/workflow/test_reruns.py`, which plans every edit in a built project and in a fresh clone after `make pull`.
Both plan the same jobs.

A DVC stage that starts runs the jobs named here and no others. Most start only to find that there is nothing to do.
The third column counts tables, figures, the overview and the report.

| edit | jobs | results | DVC stages that may start |
|---|---|---|---|
"""
    tail = """
More, each tried by a test:

- **An edit before `make pull`** is planned after it, as above. The pull does not hide it.
- **An edit of the study during a build** reaches no job of that build. DVC's check refuses the stage and writes no
  lock. The next build runs what depends on the edit.
- **A removed item**: the stage's check moves its outputs to `.work/<study>/removed`, so that DVC does not record them.
- **`git checkout` and `dvc checkout` of an earlier state**: both tools find nothing to do, and nothing is made again.
- **A touched, copied or checked-out file** with the same content reruns nothing. An output that was changed or deleted
  is made again.
"""
    return head + "\n".join(ROWS[edit.what] for edit in EDITS) + "\n" + tail


def test_the_page_is_up_to_date() -> None:
    if set(ROWS) != {edit.what for edit in EDITS}:
        pytest.skip("only a part of the edits was tried")
    if "PQM_WRITE_DOCS" in os.environ:
        PAGE.write_text(page())
    assert PAGE.read_text() == page()


def test_nothing_reruns_after_every_edit_is_undone(dvc_project: Project, clone: Project) -> None:
    assert not planned(dvc_project) and not planned(clone)
    assert not changed_stages(dvc_project) and not changed_stages(clone)


def test_an_output_that_was_changed_is_made_again(clone: Project) -> None:
    file = clone.folder / "data/tiny/rollouts/weak/test.parquet"
    before = file.read_bytes()
    file.chmod(0o644)
    try:
        file.write_bytes(before[:-1] + b"x")
        jobs = planned(clone)
    finally:
        file.write_bytes(before)
    assert jobs["sample"] == 1 and "label_set" not in jobs
    assert not planned(clone)


def test_dates_decide_nothing(clone: Project) -> None:
    for folder in ("src", "config", "workflow", "data/tiny", "results/tiny"):
        for number, path in enumerate(sorted((clone.folder / folder).rglob("*"))):
            os.utime(path, (1e9 + number, 2e9 - 7919 * number))
    assert not planned(clone)


def test_an_edit_before_the_pull_is_planned_after_it(dvc_project: Project, tmp_path: Path) -> None:
    dvc_project.run("git", "clone", "-q", str(dvc_project.folder), str(tmp_path / "pqm"))
    late = Project(tmp_path / "pqm")
    late.change(STUDY, BCE)
    late.run("dvc", "pull", "config/tiny/dvc.yaml")
    jobs = planned(late)
    assert jobs["reward_model"] == 1 and "sample" not in jobs


def test_an_edit_during_a_build_is_not_recorded(dvc_project: Project, tmp_path: Path) -> None:
    shutil.copytree(dvc_project.folder, tmp_path / "pqm", symlinks=True)
    project = Project(tmp_path / "pqm")
    project.change(STUDY, BCE)
    log = project.folder / "logs/tiny/train/bce-seed-0.log"
    log.unlink(missing_ok=True)
    lock = (project.folder / "config/tiny/dvc.lock").read_text()
    build = subprocess.Popen(
        ["dvc", "repro", "config/tiny/dvc.yaml:train"], cwd=project.folder, env=project.environment(),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    while not log.exists():
        assert build.poll() is None, build.communicate()[0]
        time.sleep(0.02)
    project.change(STUDY, ("learning_rate: 2e-4,", "learning_rate: 3e-4,"))
    output = build.communicate()[0]
    assert build.returncode != 0
    assert "checkpoints/bce/seed-0: changed since: setting runs.bce,-policies,-seeds" in output
    assert (project.folder / "config/tiny/dvc.lock").read_text() == lock
    assert planned(project)["reward_model"] == 1, "the next build trains with the edit"


def test_a_removed_run_is_moved_aside(dvc_project: Project, tmp_path: Path) -> None:
    shutil.copytree(dvc_project.folder, tmp_path / "pqm", symlinks=True)
    project = Project(tmp_path / "pqm")
    project.change(STUDY, ("\nruns:\n", "\nruns:\n  extra: {loss: mse, labels: train, backbone: error-detecting}\n"))
    project.run("dvc", "repro", "config/tiny/dvc.yaml:train")
    assert (project.folder / "results/tiny/checkpoints/extra/seed-0/model.safetensors").exists()
    project.change(STUDY, ("  extra: {loss: mse, labels: train, backbone: error-detecting}\n", ""))
    output = project.run("dvc", "repro", "config/tiny/dvc.yaml:train")
    assert "the study no longer contains its item" in output
    assert not (project.folder / "results/tiny/checkpoints/extra").exists() or not any(
        (project.folder / "results/tiny/checkpoints/extra").iterdir()
    )
    assert (project.folder / ".work/tiny/removed/results/tiny/checkpoints/extra/seed-0/model.safetensors").exists()
    assert not planned(project)
