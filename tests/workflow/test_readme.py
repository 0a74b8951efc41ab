"""The README's commands work: each is run in the tiny study, builds as dry runs."""

import re
import shlex
import shutil

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
    words = shlex.split(command.replace("results/demo/", "results/tiny/"))
    if words[0] == "make":
        snakemake_project.run("make", "-n", *words[1:])
    elif words[0] == "dvc":
        assert "Running stage 'config/tiny/dvc.yaml:questions'" in dvc_project.run(*words, "--dry", "--force")
    elif words[0] == "pqm":
        assert "all is as it was" in snakemake_project.run(*words)
    elif "--report" in words:
        snakemake_project.run(*words)
        assert (snakemake_project.folder / words[-1]).stat().st_size > 100_000
    else:
        snakemake_project.run("snakemake", "-n", *words[1:])


def test_judging_scores_by_hand(snakemake_project: Project) -> None:
    command = re.search(r"`(pqm evaluate judge .*)`", README)[1].replace("results/demo/", "results/tiny/")
    command = command.replace("YOURS.parquet", "results/tiny/scores/bce/seed-0/weak/test.parquet")
    output = snakemake_project.run(*shlex.split(command), "--n", "1", "--n", "8")
    assert re.search(r"best-of-n +\| min +\| +8 ", output)


def test_the_table_of_times_is_printed(snakemake_project: Project) -> None:
    output = snakemake_project.run("pqm", "paper", "times", "results/tiny/benchmarks")
    assert all(stage in output for stage in ("questions", "policies", "rollouts", "labels", "train", "evaluate", "paper"))


def test_a_study_of_your_own(snakemake_project: Project) -> None:
    """What the README says of a new study, and of adding a run: one file by hand each."""
    made = snakemake_project.folder / "config/mine"
    try:
        assert "pqm study check mine" in snakemake_project.run("pqm", "study", "new", "mine", "--from", "tiny")
        assert {path.name for path in made.iterdir()} == {"study.yaml", "dvc.yaml"}
        snakemake_project.change(
            "config/mine/study.yaml", ("\nruns:\n", "\nruns:\n  mse: {loss: mse, labels: train, backbone: proofreader}\n")
        )
        assert "nothing is wrong" in snakemake_project.run("pqm", "study", "check", "mine")
        outputs = {output for _, made in snakemake_project.planned("--config", "study=mine", "--", "all") for output in made}
        assert "results/mine/checkpoints/mse/seed-0" in outputs
        assert all(output.startswith(("data/mine/", "results/mine/")) for output in outputs)
        assert "Nothing to be done" in snakemake_project.run("snakemake", "all")
    finally:
        shutil.rmtree(made, ignore_errors=True)
