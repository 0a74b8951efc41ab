from pathlib import Path

import pandas as pd
import pytest

from pqm.study.reading import load_study

from .conftest import ROOT, STUDY, Project

METHODS = {
    "pass@1", "random", "pass@n", "self-consistency", "policy-likelihood", "backbone-likelihood", "step-classifier",
    "bce", "pqm-zeta4", "bce+self-consistency", "pqm-zeta4+self-consistency",
}  # fmt: skip


LISTED = load_study(ROOT / STUDY).results
RESULTS = {*LISTED.tables, *LISTED.figures}


def outputs(jobs: list[tuple[str, list[str]]]) -> set[str]:
    return {output for _, made in jobs for output in made}


def rules(jobs: list[tuple[str, list[str]]]) -> set[str]:
    return {rule for rule, _ in jobs}


def results(jobs: list[tuple[str, list[str]]]) -> set[str]:
    """The tables and figures that are built again."""
    return {rule.removeprefix("table_").removeprefix("figure_") for rule in rules(jobs)} & RESULTS


def test_main_table_is_long_and_complete(snakemake_project: Project) -> None:
    table = pd.read_csv(snakemake_project.folder / "results/tiny/tables/main.csv")
    assert list(table.columns) == [
        "policy", "benchmark", "backbone", "method", "aggregation", "n", "accuracy", "low", "high", "questions", "seeds",
    ]  # fmt: skip
    assert set(table["method"]) == METHODS
    assert set(table["n"]) == {1, 2, 8}
    assert table["accuracy"].between(0, 1).all()
    assert (table["low"] <= table["accuracy"] + 1e-9).all() and (table["accuracy"] <= table["high"] + 1e-9).all()


def test_at_n_1_every_method_is_pass_at_1(snakemake_project: Project) -> None:
    table = pd.read_csv(snakemake_project.folder / "results/tiny/tables/main.csv")
    at_1 = table[(table["n"] == 1) & ~table["method"].str.contains("self-consistency")]
    spread = at_1.groupby(["policy", "benchmark"])["accuracy"].agg(lambda values: values.max() - values.min())
    assert (spread < 1e-4).all()


def test_nothing_is_to_be_done_after_a_build(snakemake_project: Project) -> None:
    assert "Nothing to be done" in snakemake_project.run("snakemake", "all")


@pytest.mark.parametrize(
    "target",
    [
        "results/tables",
        "results/tables/",
        "results/figures",
        "results/tiny/tables",
        "results/tiny/figures/",
        "results/tiny/tables/main.tex",
        "results/tiny/figures/margin.svg",
    ],
)
def test_targets_by_name(snakemake_project: Project, target: str) -> None:
    assert "Nothing to be done" in snakemake_project.run("snakemake", target)


def test_a_path_of_another_study_is_answered_with_its_name(snakemake_project: Project) -> None:
    output = snakemake_project.run("snakemake", "-n", "results/demo/figures/margin.svg", check=False)
    assert "results/demo/figures/margin.svg belongs to another study: add --config study=demo" in output


# The results that depend on bce, some of them through tables, benchmark files or checkpoints.
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
        "overview",
        "page",
    }
    assert results(jobs) == ABOUT_BCE
    made_again = ("results/tiny/tables/", "results/tiny/figures/", "results/tiny/report.", "results/tiny/README.")
    assert all("bce" in output or output.startswith(made_again) for output in outputs(jobs))


@pytest.mark.parametrize(
    ("module", "first", "spared"),
    [
        ("losses/bce.py", "reward_model", {"sample", "label_set", "pretraining"}),
        ("losses/mse.py", None, {"reward_model"}),
        ("models/sampling/batched.py", "sample", {"question_set"}),
        ("labels/monte_carlo.py", "label_set", {"sample"}),
        ("models/tree_probe.py", "scores_bce", {"sample", "label_set"}),
        ("evaluate/scores.py", "scores_bce", {"reward_model", "label_set"}),
        ("estimation/estimators.py", "metrics", {"question_set"}),
        ("grading/grader.py", "grades", {"question_set"}),
        ("estimation/first_errors.py", "table_first_error", {"metrics", "scores_bce"}),
        ("paper/tables/main.py", "table_main", {"metrics", "figure_theory", "table_backbones"}),
        ("paper/figures/margin.py", "figure_margin", {"table_main", "metrics", "figure_theory"}),
        ("estimation/theory.py", "figure_theory", {"table_main", "metrics"}),
        ("paper/report.py", "page", {"table_main", "figure_theory"}),
        ("problems/corpus.py", "pretraining", {"question_set"}),
        ("problems/word_problem_text.py", "pretraining", {"question_set"}),
        ("problems/word_problems.py", "question_set", set()),
    ],
)
def test_editing_code_reruns_what_runs_through_it(
    snakemake_project: Project, module: str, first: str | None, spared: set[str]
) -> None:
    with snakemake_project.edited(f"src/pqm/{module}", end="\n# edited\n"):
        planned = rules(snakemake_project.planned())
    assert first in planned if first else not planned
    assert not spared & planned


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("backbone: error-detecting}\n  pqm", "backbone: nowhere}\n  pqm"), "runs.bce.backbone: backbones has no 'nowhere'"),
        (
            ("policies: [weak, final]\n    completer", "policies: [weak, lost]\n    completer"),
            "labels.audit.policies: policies has no",
        ),
        (("epochs:", "epoch:"), "training: unknown key 'epoch'; did you mean 'epochs'?"),
        (("    theory: []\n", "    fig: []\n"), "results.figures.fig: no figure 'fig'"),
        (("    theory: []\n", "    theory: [lost]\n"), "results.figures.theory: runs has no 'lost'"),
        (("n: [1, 2, 8]", "n: [1, 2, 9]"), "n = 9 is more than the 8 samples of rollouts.test"),
    ],
    ids=["backbone", "policy", "key", "result", "run", "n"],
)
def test_a_study_with_a_fault_stops_the_plan(snakemake_project: Project, change: tuple[str, str], words: str) -> None:
    with snakemake_project.edited(STUDY, change):
        output = snakemake_project.run("snakemake", "-n", check=False)
    assert words in output and "study.yaml: line " in output


def test_an_unknown_study_is_named_with_those_that_there_are(snakemake_project: Project) -> None:
    output = snakemake_project.run("snakemake", "-n", "--config", "study=huge", check=False)
    assert "config/huge/study.yaml: no such study; known studies: demo, gpu, paper, published, quick, qwen, tiny" in output


def snapshot(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Size, time and inode of every file, except Snakemake's own files."""
    return {
        str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns, path.stat().st_ino)
        for path in folder.rglob("*")
        if path.is_file() and not {".snakemake", "__pycache__"} & set(path.relative_to(folder).parts)
    }


@pytest.mark.parametrize("command", ["snakemake -n", "snakemake -n --forceall all", "snakemake --lint"])
def test_a_plan_changes_nothing(snakemake_project: Project, command: str) -> None:
    with snakemake_project.edited(STUDY, ("bce: {loss: bce,", "bce: {loss: bce, learning_rate: 2e-4,")):
        before = snapshot(snakemake_project.folder)
        snakemake_project.run(*command.split())
        assert snapshot(snakemake_project.folder) == before


def test_a_study_writes_to_its_own_folders(snakemake_project: Project) -> None:
    for folder in ("data", "results", "logs", ".work"):
        found = {path.name for path in (snakemake_project.folder / folder).iterdir()}
        assert found <= {"tiny", "README.md", "digests.sqlite", "trace"}, f"{folder}: {found}"


# ---------------------------------------------------------------- published data

PUBLISHED = ROOT.parent / "shared/data"
OF_PUBLISHED = ("--config", "study=published", "--")


def test_missing_published_data_is_reported_with_the_place_to_get_it(snakemake_project: Project) -> None:
    output = snakemake_project.run("snakemake", "-n", *OF_PUBLISHED, "results/tables", check=False)
    assert (
        "data/published/gsm8k/example_model_solutions.jsonl is missing; get it from github.com/openai/grade-school-math" in output
    )


@pytest.mark.skipif(not PUBLISHED.exists(), reason="the published data is not beside the checkout")
def test_published_solutions_agree_with_their_publishers(snakemake_project: Project) -> None:
    folder = snakemake_project.folder
    (folder / "data/published").mkdir()
    for name in ("gsm8k", "gsm-plus", "math500"):
        (folder / "data/published" / name).symlink_to(PUBLISHED / name)
    before = snapshot(folder / "results/tiny") | snapshot(folder / "data/tiny")
    snakemake_project.run("snakemake", *OF_PUBLISHED, "results/tables", "questions")
    table = pd.read_csv(folder / "results/published/tables/published_solutions.csv")
    agreement = table[table["method"] == "agreement with is_correct"].iloc[0]
    assert agreement["questions"] == 5276
    assert agreement["accuracy"] >= 0.995
    disagreements = pd.read_csv(folder / "results/published/tables/published_disagreements.csv")
    assert len(disagreements) == 15 and set(disagreements["who is right"]) == {"math-verify, publishers"}
    for dataset, size in (("gsm8k", 1319), ("gsm-plus", 2400), ("math500", 500)):
        questions = pd.read_parquet(folder / f"data/published/questions/{dataset}.parquet")
        assert len(questions) == size
        if dataset == "gsm-plus":
            assert questions["cluster"].nunique() == 300
            assert (questions["answer"] == "None").sum() == 300
    # Build two studies in turn, twice: nothing reruns, and no file of the other study changes.
    for _ in range(2):
        assert "Nothing to be done" in snakemake_project.run("snakemake", "all")
        assert "Nothing to be done" in snakemake_project.run("snakemake", *OF_PUBLISHED, "results/tables", "questions")
    assert snapshot(folder / "results/tiny") | snapshot(folder / "data/tiny") == before
