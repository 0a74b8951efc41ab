"""The changes in docs/architecture.md: each needs only the files that the page lists."""

import os
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from .conftest import ROOT, STUDY, Project

PAGE = (ROOT / "docs/architecture.md").read_text()

# The unit tests cover these two without a workflow.
LONG = pytest.mark.skipif("PQM_LONG" not in os.environ, reason="takes minutes: make test-long")


def code_of(path: str) -> str:
    """The code of a file on the page: the first block after its name."""
    return re.search(r"```python\n(.*?)```", PAGE[PAGE.index(f"`{path}`") :], flags=re.S)[1]


def files_named(change: str) -> int:
    return int(re.search(rf"^\| {change} \| (\d+) \|", PAGE, flags=re.M)[1])


@pytest.fixture
def project(snakemake_project: Project, tmp_path: Path) -> Project:
    shutil.copytree(snakemake_project.folder, tmp_path / "pqm", symlinks=True)
    return Project(tmp_path / "pqm")


def add(project: Project, path: str, *changes: tuple[str, str]) -> None:
    (project.folder / path).write_text(code_of(path))
    project.change(STUDY, *changes)


def rules(project: Project, *targets: str) -> set[str]:
    return {rule for rule, _ in project.planned("--", *(targets or ("all",)))}


def test_a_loss(project: Project) -> None:
    run = "  hinge: {loss: hinge, loss_settings: {margin: 2.0}, labels: train, backbone: error-detecting}\n"
    add(
        project,
        "src/pqm/losses/hinge.py",
        ("\nruns:\n", f"\nruns:\n{run}"),
        ("    loss_ablation: [pqm-zeta4]", "    loss_ablation: [pqm-zeta4, hinge]"),
    )
    assert files_named("a loss") == 2
    jobs = project.planned("--", "all")
    assert [outputs for rule, outputs in jobs if rule == "reward_model"] == [
        ["results/tiny/checkpoints/hinge/seed-0", "results/tiny/checkpoints/hinge/seed-0.record.json"]
    ]
    project.run("snakemake", "--cores", "2", "results/tiny/tables/loss_ablation.csv")
    table = pd.read_csv(project.folder / "results/tiny/tables/loss_ablation.csv")
    assert "hinge-margin2" in set(table["method"])
    assert "hinge, margin 2" in (project.folder / "results/tiny/tables/loss_ablation.md").read_text()


@LONG
def test_a_loss_of_a_users_own_module(project: Project) -> None:
    (project.folder / "mine.py").write_text(code_of("src/pqm/losses/hinge.py"))
    run = "  mine: {loss: 'mine:hinge', loss_settings: {margin: 0.5}, labels: train, backbone: error-detecting}\n"
    project.change(STUDY, ("\nruns:\n", f"\nruns:\n{run}"))
    project.run("snakemake", "--cores", "2", "results/tiny/checkpoints/mine/seed-0")
    assert not rules(project, "results/tiny/checkpoints/mine/seed-0")
    with project.edited("mine.py", end="\n# edited\n"):
        assert rules(project, "results/tiny/checkpoints/mine/seed-0") == {"reward_model"}
    project.change(STUDY, ("{margin: 0.5}", "{margn: 0.5}"))
    output = project.run("snakemake", "-n", check=False)
    assert "runs.mine.loss_settings: unknown key 'margn'; did you mean 'margin'?" in output


def test_a_table(project: Project) -> None:
    add(project, "src/pqm/paper/tables/pass_at_1.py", ("  tables:\n", "  tables:\n    pass_at_1: []\n"))
    assert files_named("a table") == 2
    assert rules(project) == {"table_pass_at_1", "overview", "page"}
    project.run("snakemake", "--cores", "2", "results/tiny/README.md")
    table = pd.read_csv(project.folder / "results/tiny/tables/pass_at_1.csv")
    main = pd.read_csv(project.folder / "results/tiny/tables/main.csv")
    expected = main[main["method"] == "pass@1"].set_index(["policy", "benchmark"])["accuracy"]
    found = table.set_index(["policy", "benchmark"])["accuracy"]
    assert found.to_dict() == pytest.approx(expected.to_dict(), abs=1e-4)
    assert "Share of right samples" in (project.folder / "results/tiny/README.md").read_text()


def test_a_figure(project: Project) -> None:
    add(project, "src/pqm/paper/figures/lengths.py", ("  figures:\n", "  figures:\n    lengths: []\n"))
    assert files_named("a figure") == 2
    assert rules(project) == {"figure_lengths", "overview", "page"}
    project.run("snakemake", "--cores", "2", "results/tiny/figures/lengths.svg")
    assert len(pd.read_csv(project.folder / "results/tiny/figures/lengths.csv")) == 4


def test_an_aggregation(project: Project) -> None:
    assert files_named("an aggregation of step scores") == 1
    project.change(
        "src/pqm/estimation/estimators.py",
        ('AGGREGATIONS = ("min", "last", "product", "mean")', 'AGGREGATIONS = ("min", "last", "product", "mean", "max")'),
        (
            '    if aggregation == "last":',
            '    if aggregation == "max":\n        return logits.max(axis=1)\n    if aggregation == "last":',
        ),
    )
    project.run("snakemake", "--cores", "2", "results/tiny/tables/aggregations.csv")
    assert "max" in set(pd.read_csv(project.folder / "results/tiny/tables/aggregations.csv")["aggregation"])


@LONG
def test_the_step_separator_of_our_own_models(project: Project) -> None:
    assert files_named("the step separator of our own models") == 1
    project.change(STUDY, ("    snapshot_every: 60\n", "    snapshot_every: 60\n    step_separator: ';;'\n"))
    project.run("snakemake", "--cores", "2", "data/tiny/rollouts/final/test.parquet")
    rollouts = pd.read_parquet(project.folder / "data/tiny/rollouts/final/test.parquet")
    assert rollouts["text"].str.contains(";;").mean() > 0.9
    assert (rollouts["steps"].map(len) > 0).mean() > 0.9
    assert not rollouts["steps"].map(" ".join).str.contains("[\n;]").any()


def test_the_paths_that_the_page_names_exist() -> None:
    examples = {
        "src/pqm/losses/hinge.py",
        "src/pqm/models/sampling/fixed_engine.py",
        "src/pqm/paper/figures/lengths.py",
        "src/pqm/paper/tables/pass_at_1.py",
    }
    named = {path for path in re.findall(r"`((?:src|config|workflow|tests)/[\w/.]+)`", PAGE)} - examples
    assert len(named) > 20
    assert not [path for path in named if not (ROOT / path).exists()]
    for folder in re.findall(r"^\| [\w ]*\| `(\w+/)`", PAGE, flags=re.M):
        assert (ROOT / "src/pqm" / folder).is_dir(), folder


def test_the_functions_that_the_page_names_exist() -> None:
    stations = re.findall(r"^\| .* \| `(src/pqm/[\w/]+\.py)` \| `(\w+)` \|$", PAGE, flags=re.M)
    assert len(stations) >= 12
    for path, name in stations:
        assert re.search(rf"^(def|class) {name}\b", (ROOT / path).read_text(), flags=re.M), f"{path}: {name}"
