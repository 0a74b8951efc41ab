"""The command line and the workflow: start-up, a dry run of the paper study, a start with nothing to do, and the last build.

    python benchmarks/workflow.py [PROJECT]

PROJECT is a folder of the project in which the study of `params.yaml` is built, by default this one. If it is not built there, the
tiny study is built in a temporary copy. The chart of the last build is written to `docs/performance-build.svg`.
"""

import os
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path

from bench import ROOT, Row, Used, command, commands, main, versions
from build_chart import critical_path, draw, last_build
from ruamel.yaml import YAML

CHART = ROOT / "docs/performance-build.svg"
NOTHING = "Nothing to be done"
COPIED = ("config", "envs", "profiles", "src", "workflow", "Snakefile", "params.yaml")
# Shows the help of every verb, and runs verbs that need no model. Prints the number of calls, and of those with torch loaded.
WITHOUT_TORCH = """
import sys
from typer.main import get_command
from typer.testing import CliRunner
from pqm.cli.__main__ import app
def helps(group, path):
    for name, verb in getattr(group, "commands", {}).items():
        yield from helps(verb, [*path, name])
    yield [*path, "--help"]
calls = [*helps(get_command(app), [])]
calls += [["study", "check", "demo"], ["study", "check", "paper"], ["paper", "budget", "config/paper/study.yaml"]]
loaded = 0
for call in calls:
    result = CliRunner().invoke(app, call)
    assert result.exit_code == 0, (call, result.output, result.exception)
    loaded += "torch" in sys.modules
print(len(calls), loaded)
"""


def project_environment(project: Path) -> dict[str, str]:
    """The variables with which commands run in a project: this Python, and the project's own code."""
    paths = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {"PATH": paths, "PYTHONPATH": str(project / "src")}


def snakemake(project: Path, study: str, *arguments: str) -> Used:
    """Run Snakemake in a project; its output contains what it says on standard error."""
    text = f"exec snakemake --config study={study} {' '.join(arguments)} 2>&1"
    return command("bash", "-c", text, cwd=project, env=project_environment(project))


def is_built(project: Path, study: str) -> bool:
    """Whether a study is built, with nothing to do."""
    return (project / ".snakemake/metadata").exists() and NOTHING in snakemake(
        project, study, "-n", "--quiet", "host", "--", "all"
    ).output


def start_up() -> list[Row]:
    """What `pqm --help` takes beside its two largest imports, and how many verbs import torch without need."""
    run = partial(command, cwd=ROOT, env=project_environment(ROOT))
    ours, theirs = commands(
        lambda: run(sys.executable, "-m", "pqm.cli", "--help"), lambda: run(sys.executable, "-c", "import typer, pydantic")
    )
    calls, loaded = map(int, run(sys.executable, "-c", WITHOUT_TORCH).output.split())
    return [
        Row(
            "workflow", "`pqm --help`, beside `import typer, pydantic`", ours.seconds, theirs.seconds, "CPU-s",
            theirs.seconds / ours.seconds, ">= 0.5", versions("typer", "pydantic"),
        ),
        Row(
            "workflow", "calls after which torch is loaded without need", loaded, None, "count", None, "= 0",
            f"of {calls}: the help of every verb, `study check`, `paper budget`",
        ),
    ]  # fmt: skip


def starts(project: Path, study: str) -> list[Row]:
    """A dry run of the paper study, and a start of a finished build."""
    dry, nothing = commands(
        lambda: snakemake(ROOT, "paper", "-n", "--quiet", "host", "--", "all"),
        lambda: snakemake(project, study, "--cores", "all", "--", "all"),
    )
    assert NOTHING in nothing.output, nothing.output
    note = versions("snakemake")
    return [
        Row("workflow", "dry run of the paper study", dry.seconds, goal="< 5", note=f"{note}; {dry.wall:.1f} s of wall-clock time"),
        Row("workflow", f"a start of the {study} study with nothing to do", nothing.seconds, note=f"{note}; {nothing.wall:.1f} s of wall-clock time"),
    ]  # fmt: skip


def build(project: Path, study: str) -> list[Row]:
    """The last build of a study: its time, and the least time that its jobs allow."""
    jobs = last_build(project, study)
    path = critical_path(jobs)
    cores = os.cpu_count() or 1
    wall = max(job.end for job in jobs) - min(job.start for job in jobs)
    longest, together = (sum(job.seconds for job in part) for part in (path, jobs))
    draw(jobs, CHART)
    row = partial(Row, "workflow", unit="s (wall-clock)")
    names = ", ".join(f"{job.name} {job.seconds:.0f}" for job in path if job.seconds >= 0.02 * longest)
    return [
        row(f"the last build of the {study} study", wall, note=f"{len(jobs)} jobs on {cores} cores"),
        row("... its critical path", longest, note=f"{len(path)} jobs; those of 2 % and more: {names}"),
        row("... the time of all its jobs, per core", together / cores, note="jobs with several threads count once"),
    ]


def measure(project: Path = ROOT) -> list[Row]:
    """All rows of this part."""
    study = str(YAML(typ="safe").load(project / "params.yaml")["study"])
    rows = start_up()
    if is_built(project, study):
        return [*rows, *starts(project, study), *build(project, study)]
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "pqm")
        copy.mkdir()
        for name in COPIED:
            (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, copy / name)
        snakemake(copy, "tiny", "--cores", "all", "--", "all")
        return [*rows, *starts(copy, "tiny"), *build(copy, "tiny")]


if __name__ == "__main__":
    main(partial(measure, *map(Path, sys.argv[1:])))
