"""The tiny study, built once through Snakemake and once through DVC, in two copies of the project."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from filelock import FileLock

ROOT = Path(__file__).parents[2]
STUDY = "config/tiny/study.yaml"
STAGES = ("questions", "policies", "rollouts", "labels", "train", "evaluate", "paper")
TRACE = ".work/trace"  # the modules that each process of the build by Snakemake loaded


class Project:
    """A copy of the project with the tiny study as its default."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, *command: str, check: bool = True, **variables: str) -> str:
        environment = self.environment() | variables
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True)
        output = done.stdout + done.stderr
        assert not check or done.returncode == 0, f"{' '.join(command)}\n{output[-6000:]}"
        return output

    def environment(self) -> dict[str, str]:
        """The environment variables of the project's commands."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return os.environ | {"PATH": path, "PYTHONPATH": str(self.folder / "src"), "OMP_NUM_THREADS": "1"}

    def planned(self, *arguments: str) -> list[tuple[str, list[str]]]:
        """The jobs that Snakemake would run, as rule and outputs, without rules that have no outputs."""
        text = self.run("snakemake", "-n", *arguments)
        jobs = re.findall(r"^(?:local)?rule (\S+):\n(?:    .*\n)*?    output: (.*)$", text, flags=re.M)
        return [(rule, outputs.split(", ")) for rule, outputs in jobs]

    def table(self) -> str:
        return (self.folder / "results/tiny/tables/main.csv").read_text()

    @contextmanager
    def edited(self, path: str, *changes: tuple[str, str], end: str = "") -> Iterator[None]:
        """Replace texts of a file and append `end` to it, inside the block only."""
        file = self.folder / path
        before = file.read_text()
        try:
            self.change(path, *changes)
            file.write_text(file.read_text() + end)
            yield
        finally:
            file.write_text(before)

    def change(self, path: str, *changes: tuple[str, str]) -> None:
        """Replace texts of a file, which must contain each of them."""
        text = (self.folder / path).read_text()
        for old, new in changes:
            assert old in text, f"{path} has no {old!r}"
            text = text.replace(old, new)
        (self.folder / path).write_text(text)


def copy_project(folder: Path) -> Project:
    files = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, files.stdout.split("\0")):
        if (ROOT / name).is_file() and not name.startswith("docs/") and not _made(name):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    (folder / "params.yaml").write_text("study: tiny\n")
    return Project(folder)


def _made(name: str) -> bool:
    """Whether a file is an output of a study that git keeps."""
    return name.endswith("dvc.lock") or (name.startswith("results/") and name.count("/") > 1)


def make_pull(project: Project) -> None:
    """Run the commands of `make pull` in this environment."""
    for line in (ROOT / "Makefile").read_text().split("\npull: ", 1)[1].splitlines()[1:]:
        if not line.startswith("\t"):
            break
        project.run(*line.replace("$(STUDY)", "tiny").split())


def built_once(name: str, build: Callable[[Path], None], factory: pytest.TempPathFactory) -> Project:
    """The project, built by the first worker that needs it. Each worker gets its own copy, because tests edit files."""
    own = factory.getbasetemp() / name
    if "PYTEST_XDIST_WORKER" not in os.environ:
        build(own)
        return Project(own / "pqm")
    built = own.parents[1] / name
    with FileLock(f"{built}.lock"):
        if not (built / "done").exists():
            shutil.rmtree(built, ignore_errors=True)
            build(built)
            (built / "done").touch()
    shutil.copytree(built, own, symlinks=True)
    return Project(own / "pqm")


def build_by_snakemake(folder: Path) -> None:
    project = copy_project(folder / "pqm")
    path = f"{ROOT / 'tests/workflow/traced'}{os.pathsep}{project.environment()['PYTHONPATH']}"
    project.run("snakemake", "--cores", "1", "all", PYTHONPATH=path, PQM_TRACE=str(project.folder / TRACE))


def build_by_dvc(folder: Path) -> None:
    project = copy_project(folder / "pqm")
    project.run("git", "init", "-q")
    project.run("git", "config", "user.email", "test@example.org")
    project.run("git", "config", "user.name", "test")
    project.run("dvc", "remote", "add", "--force", "--default", "local", str(folder / "remote"))
    project.run("dvc", "repro")
    project.run("git", "add", "-A")
    project.run("git", "commit", "-qm", "built")
    project.run("dvc", "push")


@pytest.fixture(scope="session")
def snakemake_project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Built by Snakemake on one core."""
    return built_once("snakemake", build_by_snakemake, tmp_path_factory)


@pytest.fixture(scope="session")
def dvc_project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Built by DVC on all cores, committed to git, and pushed to a DVC remote."""
    return built_once("dvc", build_by_dvc, tmp_path_factory)
