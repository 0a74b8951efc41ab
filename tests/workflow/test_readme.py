"""The README's commands work: each is run in the tiny study, builds as dry runs."""

import re
import shlex

import pytest

from .conftest import ROOT, Project

README = (ROOT / "README.md").read_text()
COMMANDS = [
    line.strip().split("  #")[0].strip() for line in re.findall(r"^    (?:make|snakemake|dvc|pqm) .*$", README, flags=re.M)
]


def test_the_readme_has_its_commands() -> None:
    assert {"make tables", "make test", "dvc repro"} <= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_command(command: str, snakemake_project: Project, dvc_project: Project) -> None:
    words = shlex.split(command)
    if words[0] == "make":
        snakemake_project.run("make", "-n", *words[1:])
    elif words[0] == "dvc":
        assert "Running stage 'questions'" in dvc_project.run(*words, "--dry", "--force")
    elif "--report" in words:
        snakemake_project.run(*words)
        assert (snakemake_project.folder / words[-1]).stat().st_size > 100_000
    else:
        snakemake_project.run(*words, "-n") if "-n" not in words else snakemake_project.run(*words)


def test_judging_scores_by_hand(snakemake_project: Project) -> None:
    command = re.search(r"`(pqm evaluate judge .*)`", README)[1].replace(
        "YOURS.parquet", "results/scores/bce/seed-0/weak/test.parquet"
    )
    output = snakemake_project.run(*shlex.split(command), "--n", "1", "--n", "8")
    assert re.search(r"best-of-n +\| min +\| +8 ", output)


def test_the_table_of_times_is_printed(snakemake_project: Project) -> None:
    output = snakemake_project.run("pqm", "paper", "times", "results/benchmarks")
    assert all(stage in output for stage in ("questions", "policies", "rollouts", "labels", "train", "evaluate", "paper"))
