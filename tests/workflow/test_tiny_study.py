import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

import pandas as pd
import pytest
import yaml

from .conftest import ROOT, Project

METHODS = {
    "pass@1", "random", "pass@n", "self-consistency", "policy-likelihood", "backbone-likelihood", "proofreader",
    "bce", "pqm-zeta4", "bce+self-consistency", "pqm-zeta4+self-consistency",
}  # fmt: skip


PAPER = yaml.safe_load((ROOT / "tests/tiny/paper.yaml").read_text())
RESULTS = {*PAPER["tables"], *PAPER["figures"]}


def outputs(jobs: list[tuple[str, list[str]]]) -> set[str]:
    return {output for _, made in jobs for output in made}


def rules(jobs: list[tuple[str, list[str]]]) -> set[str]:
    return {rule for rule, _ in jobs}


def results(jobs: list[tuple[str, list[str]]]) -> set[str]:
    """The tables and figures that are made again."""
    return {rule.removeprefix("table_").removeprefix("figure_") for rule in rules(jobs)} & RESULTS


@contextmanager
def appended(project: Project, path: str, addition: str) -> Iterator[None]:
    """`addition` stands at the end of a file, which is restored with its times."""
    file = project.folder / path
    before, times = file.read_bytes(), file.stat()
    try:
        file.write_bytes(before + addition.encode())
        yield
    finally:
        file.write_bytes(before)
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_main_table_is_long_and_complete(snakemake_project: Project) -> None:
    table = pd.read_csv(snakemake_project.folder / "results/tables/main.csv")
    assert list(table.columns) == [
        "policy", "benchmark", "backbone", "method", "aggregation", "n", "accuracy", "low", "high", "questions", "seeds",
    ]  # fmt: skip
    assert set(table["method"]) == METHODS
    assert set(table["n"]) == {1, 2, 8}
    assert table["accuracy"].between(0, 1).all()
    assert (table["low"] <= table["accuracy"] + 1e-9).all() and (table["accuracy"] <= table["high"] + 1e-9).all()


def test_at_n_1_every_method_is_pass_at_1(snakemake_project: Project) -> None:
    table = pd.read_csv(snakemake_project.folder / "results/tables/main.csv")
    at_1 = table[(table["n"] == 1) & ~table["method"].str.contains("self-consistency")]
    spread = at_1.groupby(["policy", "benchmark"])["accuracy"].agg(lambda values: values.max() - values.min())
    assert (spread < 1e-4).all()


def test_nothing_is_to_be_done_after_a_build(snakemake_project: Project) -> None:
    assert "Nothing to be done" in snakemake_project.run("snakemake", "all")


@pytest.mark.parametrize("target", ["results/tables", "results/tables/", "results/figures", "results/tables/main.tex"])
def test_targets_by_name(snakemake_project: Project, target: str) -> None:
    assert "Nothing to be done" in snakemake_project.run("snakemake", target)


def edited(project: Project, path: str, addition: str) -> list[tuple[str, list[str]]]:
    """What Snakemake would run if `addition` stood at the end of a file."""
    with appended(project, path, addition):
        return project.planned()


# What is about bce, and what is drawn from such a table, asks for its benchmarks or for its checkpoints.
ABOUT_BCE = {
    "main", "differences", "backbones", "self_consistency", "aggregations", "first_error", "case_study", "cost", "paper_comparison",
    "best_of_n", "votes", "q_values", "separation", "calibration", "compute",
}  # fmt: skip


def only_bce_is_made_again(jobs: list[tuple[str, list[str]]]) -> None:
    assert {rule for rule in rules(jobs) if not rule.startswith(("table_", "figure_"))} == {
        "reward_model",
        "scores_bce",
        "metrics",
        "headline",
        "page",
    }
    assert results(jobs) == ABOUT_BCE
    made_again = ("results/tables/", "results/figures/", "results/report.html")
    assert all("bce" in output or output.startswith(made_again) for output in outputs(jobs))


def test_editing_a_run_reruns_that_run_and_its_results(snakemake_project: Project) -> None:
    only_bce_is_made_again(edited(snakemake_project, "config/tiny/runs/bce.yaml", "learning_rate: 2.0e-4\n"))


@pytest.mark.parametrize(
    ("module", "first", "spared"),
    [
        ("train/losses.py", "reward_model", {"sample", "label_set", "pretraining"}),
        ("rollouts/sampling.py", "sample", {"question_set"}),
        ("labels/__init__.py", "label_set", {"sample"}),
        ("evaluate/scoring.py", "scores_bce", {"sample", "label_set"}),
        ("evaluate/scores.py", "scores_bce", {"reward_model", "label_set"}),
        ("evaluate/estimators.py", "metrics", {"question_set"}),
        ("evaluate/grading.py", "grades", {"question_set"}),
        ("evaluate/first_errors.py", "table_first_error", {"metrics", "scores_bce"}),
        ("paper/tables.py", "table_main", {"metrics", "figure_theory"}),
        ("paper/figures.py", "figure_margin", {"table_main", "metrics"}),
        ("paper/theory.py", "figure_theory", {"table_main", "metrics"}),
        ("paper/report.py", "page", {"table_main", "figure_theory"}),
        ("policies/corpus.py", "pretraining", {"question_set"}),
        ("policies/story_text.py", "pretraining", {"question_set"}),
        ("questions/stories.py", "question_set", set()),
    ],
)
def test_editing_code_reruns_what_runs_through_it(snakemake_project: Project, module: str, first: str, spared: set[str]) -> None:
    planned = rules(edited(snakemake_project, f"src/pqm/{module}", "\n# edited\n"))
    assert first in planned
    assert not spared & planned


# What a stage may import without rerunning: checked at every boundary, or no part of any number.
NO_PART_OF_RESULTS = {
    "__init__", "cli", "config", "errors", "formats", "hub", "memory", "progress", "records", "work", "paper/__init__", "questions/published", "policies/__init__",
    "questions/__init__", "labels/__init__", "rollouts/__init__", "evaluate/__init__", "train/__init__",
}  # fmt: skip


# Imported, and yet no part of the result: where a model is put, a constant, a function for writing, the other half of a module.
HARMLESS = {
    "questions": {"questions/symbolic"},
    "annotated": {"questions/stories"},
    "pretraining": {"policies/throughput"},
    "rollouts": {"reward_model", "policies/served"},
    "labels": {"reward_model", "policies/served"},
    "grades": {"evaluate/estimators"},
    "metrics": {"evaluate/grading", "evaluate/rules", "evaluate/unanswerable", "questions/stories"},
    "tables": {"questions/stories"},
    "report": {"questions/stories", "paper/tables"},
    "real_solutions": {"paper/tables"},
}


def imported(module: str) -> set[str]:
    """The project's modules that a module imports, as paths below src/pqm."""
    found = set()
    for package, names in re.findall(
        r"^from pqm\.?([\w.]*) import \(?([^)\n]+|[^)]+\))", (ROOT / "src/pqm" / f"{module}.py").read_text(), flags=re.M
    ):
        base = package.replace(".", "/")
        if (ROOT / f"src/pqm/{base}.py").is_file():
            found.add(base)
        else:
            inner = {f"{base}/{name.strip()}".lstrip("/") for name in names.strip("()").split(",")}
            found |= {name for name in inner if (ROOT / f"src/pqm/{name}.py").is_file()} or {f"{base}/__init__".lstrip("/")}
    return found


def test_code_that_a_stage_runs_through_is_its_input() -> None:
    text = (ROOT / "workflow/rules/common.smk").read_text()
    sources = eval(re.search(r"^SOURCE = (\{.*?^\})", text, flags=re.M | re.S)[1])
    for part, files in sources.items():
        assert all((ROOT / "src/pqm" / name).is_file() for name in files)
        modules = {name.removesuffix(".py") for name in files if name.endswith(".py")}
        unnamed = (
            {one for module in modules for one in imported(module)} - modules - NO_PART_OF_RESULTS - HARMLESS.get(part, set())
        )
        assert not unnamed, f"{part}: runs through {sorted(unnamed)}, which SOURCE does not name"


def test_a_run_that_names_a_missing_backbone_is_refused(snakemake_project: Project) -> None:
    file = snakemake_project.folder / "config/tiny/runs/lost.yaml"
    file.write_text("loss: bce\nlabels: train\nbackbone: nowhere\n")
    try:
        output = snakemake_project.run("snakemake", "-n", check=False)
    finally:
        file.unlink()
    assert "runs/lost.yaml: no backbones/nowhere.yaml" in output


def test_a_label_set_that_names_a_missing_policy_is_refused(snakemake_project: Project) -> None:
    file = snakemake_project.folder / "config/tiny/labels/lost.yaml"
    text = (snakemake_project.folder / "config/tiny/labels/train.yaml").read_text()
    file.write_text(text.replace("[weak, final]", "[weak, lost]"))
    try:
        output = snakemake_project.run("snakemake", "-n", check=False)
    finally:
        file.unlink()
    assert "labels/lost.yaml: no policies/lost.yaml" in output


def test_a_misspelled_key_stops_the_plan_with_one_sentence(snakemake_project: Project) -> None:
    with appended(snakemake_project, "config/tiny/training.yaml", "epoch: 2\n"):
        output = snakemake_project.run("snakemake", "-n", check=False)
    assert "training.yaml: unknown key 'epoch'; did you mean 'epochs'?" in output


@pytest.mark.parametrize(
    ("addition", "words"),
    [("  fig: []\n", "no figure 'fig'"), ("  theory: [lost]\n", "paper.yaml: no runs/lost.yaml")],
    ids=["unknown result", "unknown run"],
)
def test_results_that_cannot_be_stop_the_plan(snakemake_project: Project, addition: str, words: str) -> None:
    file = snakemake_project.folder / "config/tiny/paper.yaml"
    text, times = file.read_text(), file.stat()
    try:
        file.write_text(text.replace("  theory: []\n", addition))
        output = snakemake_project.run("snakemake", "-n", check=False)
    finally:
        file.write_text(text)
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert words in output


def test_missing_published_data_is_told_in_one_sentence(snakemake_project: Project) -> None:
    output = snakemake_project.run(
        "snakemake", "-n", "results/tables/real_solutions.csv", "--config", "real_data=nowhere", check=False
    )
    assert "nowhere/gsm8k" in output and "real_data=FOLDER" in output


# What needs published data, and is no part of a study.
REAL = {"real_solutions", "real_disagreements"}


@pytest.mark.skipif(not (ROOT.parent / "shared/data").exists(), reason="the published data is not beside the checkout")
def test_published_solutions_agree_with_their_publishers(snakemake_project: Project) -> None:
    data = ROOT.parent / "shared/data"
    targets = [f"results/tables/{name}.csv" for name in sorted(REAL)]
    snakemake_project.run("snakemake", *targets, "--config", f"real_data={data}")
    table = pd.read_csv(snakemake_project.folder / "results/tables/real_solutions.csv")
    agreement = table[table["method"] == "agreement with is_correct"].iloc[0]
    assert agreement["questions"] == 5276
    assert agreement["accuracy"] >= 0.995
    disagreements = pd.read_csv(snakemake_project.folder / "results/tables/real_disagreements.csv")
    assert len(disagreements) == 15 and set(disagreements["who is right"]) == {"math-verify, publishers"}
    for dataset, size in (("gsm8k", 1319), ("gsm-plus", 2400), ("math500", 500)):
        target = f"data/real/questions/{dataset}.parquet"
        snakemake_project.run("snakemake", target, "--config", f"real_data={data}")
        questions = pd.read_parquet(snakemake_project.folder / target)
        assert len(questions) == size
        if dataset == "gsm-plus":
            assert questions["cluster"].nunique() == 300
            assert (questions["answer"] == "None").sum() == 300
