"""The README's commands work. Each runs in the tiny study; builds are dry runs."""

import re
import shlex
import shutil

import pytest

from .conftest import ROOT, Project

README = (ROOT / "README.md").read_text()
LINES = re.findall(r"^    ((?:make|snakemake|dvc|pqm) .*)$", README, flags=re.M)
COMMANDS = [line.split("  #")[0].strip() for line in LINES]
# These need your own scores or study, which a test below creates.
OWN = [command for command in COMMANDS if re.search(r"YOURS|\bmine\b", command)]


def in_tiny(command: str) -> list[str]:
    """A command of the README, for the tiny study in place of the demo."""
    return shlex.split(command.replace("results/demo/", "results/tiny/").replace("--from demo", "--from tiny"))


def test_the_readme_has_its_commands() -> None:
    assert {"make tables", "make test", "dvc repro"} <= set(COMMANDS)
    assert len(OWN) == 4


@pytest.mark.parametrize("command", [command for command in COMMANDS if command not in OWN])
def test_command(command: str, snakemake_project: Project, dvc_project: Project) -> None:
    words = in_tiny(command)
    if words[0] == "make":
        snakemake_project.run("make", "-n", *words[1:])
    elif words[0] == "dvc":
        assert "Running stage 'config/tiny/dvc.yaml:questions'" in dvc_project.run(*words, "--dry", "--force")
    elif words[0] == "pqm":
        assert "nothing has changed" in snakemake_project.run(*words)
    elif "--report" in words:
        snakemake_project.run(*words)
        assert (snakemake_project.folder / words[-1]).stat().st_size > 100_000
    else:
        snakemake_project.run("snakemake", "-n", *words[1:])


def test_evaluating_your_scores(snakemake_project: Project) -> None:
    [command] = [one for one in OWN if "YOURS" in one]
    words = in_tiny(command.replace("YOURS.parquet", "results/tiny/scores/bce/seed-0/weak/test.parquet"))
    output = snakemake_project.run(*words, "--n", "1", "--n", "8")
    assert re.search(r"best-of-n +\| min +\| +8 ", output)


def test_the_table_of_times_is_printed(snakemake_project: Project) -> None:
    output = snakemake_project.run("pqm", "paper", "times", "results/tiny/benchmarks")
    assert all(stage in output for stage in ("questions", "policies", "rollouts", "labels", "train", "evaluate", "paper"))


def test_a_study_of_your_own(snakemake_project: Project) -> None:
    """The README's commands for a new study, and a run added to it."""
    new, check, build = [in_tiny(command) for command in OWN if "mine" in command]
    folder = snakemake_project.folder / "config/mine"
    try:
        assert shlex.join(check) in snakemake_project.run(*new)
        assert {path.name for path in folder.iterdir()} == {"study.yaml", "dvc.yaml"}
        snakemake_project.change(
            "config/mine/study.yaml", ("\nruns:\n", "\nruns:\n  mse: {loss: mse, labels: train, backbone: error-detecting}\n")
        )
        assert "no faults found" in snakemake_project.run(*check)
        outputs = {output for _, jobs in snakemake_project.planned(*build[1:]) for output in jobs}
        assert "results/mine/checkpoints/mse/seed-0" in outputs
        assert all(output.startswith(("data/mine/", "results/mine/")) for output in outputs)
        assert "Nothing to be done" in snakemake_project.run("snakemake", "all")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
