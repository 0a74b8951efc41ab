"""The tiny study, built once through Snakemake and once through DVC, in two copies of the project."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
RUNS = ["bce", "pqm-zeta4"]


class Project:
    """A copy of the project whose study is the tiny one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, *command: str, check: bool = True) -> str:
        environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
        environment |= {"PYTHONPATH": str(self.folder / "src"), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True)
        output = done.stdout + done.stderr
        assert not check or done.returncode == 0, f"{' '.join(command)}\n{output[-6000:]}"
        return output

    def planned(self, *arguments: str) -> list[tuple[str, list[str]]]:
        """The jobs that Snakemake would run: rule and outputs (a rule without outputs is left out)."""
        text = self.run("snakemake", "-n", *arguments)
        jobs = re.findall(r"^(?:local)?rule (\S+):\n(?:    .*\n)*?    output: (.*)$", text, flags=re.M)
        return [(rule, outputs.split(", ")) for rule, outputs in jobs]

    def table(self) -> str:
        return (self.folder / "results/tables/main.csv").read_text()


def copy_project(folder: Path) -> Project:
    files = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, files.stdout.split("\0")):
        if (ROOT / name).is_file() and not name.startswith(("results/", "dvc.lock", "docs/")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    shutil.copytree(ROOT / "tests/tiny", folder / "config/tiny")
    (folder / "params.yaml").write_text("study: tiny\n")
    (folder / "config/runs.yaml").write_text(yaml.safe_dump({"runs": RUNS}))
    return Project(folder)


@pytest.fixture(scope="session")
def snakemake_project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Built by Snakemake on one core."""
    project = copy_project(tmp_path_factory.mktemp("snakemake") / "pqm")
    project.run("snakemake", "--cores", "1", "all")
    return project


@pytest.fixture(scope="session")
def dvc_project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Built by DVC on all cores, committed to git, and pushed to a remote beside it."""
    folder = tmp_path_factory.mktemp("dvc")
    project = copy_project(folder / "pqm")
    project.run("git", "init", "-q")
    project.run("git", "config", "user.email", "test@example.org")
    project.run("git", "config", "user.name", "test")
    project.run("dvc", "remote", "add", "--force", "--default", "local", str(folder / "remote"))
    project.run("dvc", "repro")
    project.run("git", "add", "-A")
    project.run("git", "commit", "-qm", "built")
    project.run("dvc", "push")
    return project
