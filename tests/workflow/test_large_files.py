"""A large checkpoint is hashed once, by its job (`make test-long`; PQM_LARGE_GB=20 for a realistic size)."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import STUDY, Project

pytestmark = pytest.mark.skipif("PQM_LONG" not in os.environ, reason="takes minutes: make test-long")
GIGABYTES = float(os.environ.get("PQM_LARGE_GB", "2"))
ALLOWED = 10e6  # additional bytes that a command may read, compared with a small checkpoint

# Replaces `pqm` on the path: a training writes a sparse file instead of a model; all other verbs are the real ones.
SHIM = """#!{python}
import os, pathlib, sys
if sys.argv[1] != "train":
    os.execv({pqm!r}, [{pqm!r}, *sys.argv[1:]])
output = pathlib.Path(sys.argv[sys.argv.index("--output") + 1])
output.mkdir(parents=True)
with (output / "model.safetensors").open("wb") as file:
    file.truncate(int({size}) if "large" in sys.argv else 1000)
"""
# Runs a command and prints the bytes that it and its child processes read, as counted by the kernel.
COUNTING = """
import pathlib, subprocess, sys
def count():
    return int(pathlib.Path("/proc/self/io").read_text().split("rchar:")[1].split()[0])
before = count()
done = subprocess.run(sys.argv[1:], capture_output=True, text=True)
print(count() - before)
print(done.stdout + done.stderr, file=sys.stderr)
sys.exit(done.returncode)
"""


def with_run(project: Project, name: str) -> None:
    project.change(STUDY, ("\nruns:\n", f"\nruns:\n  {name}: {{loss: mse, labels: train, backbone: error-detecting}}\n"))


def bytes_read(project: Project, environment: dict[str, str], *command: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-c", COUNTING, *command], cwd=project.folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return int(done.stdout), done.stderr


def measured(folder: Path, built: Project, size: float) -> dict[str, int]:
    """Bytes read by each command in a project with a checkpoint of this size."""
    shutil.copytree(built.folder, folder / "pqm", symlinks=True)
    project = Project(folder / "pqm")
    (folder / "bin").mkdir()
    shim = folder / "bin/pqm"
    shim.write_text(SHIM.format(python=sys.executable, pqm=str(Path(sys.executable).with_name("pqm")), size=size))
    shim.chmod(shim.stat().st_mode | stat.S_IEXEC)
    environment = project.environment()
    environment["PATH"] = f"{folder / 'bin'}{os.pathsep}{environment['PATH']}"
    with_run(project, "large")
    stage = "config/tiny/dvc.yaml:train"
    bytes_read(project, environment, "dvc", "repro", stage)
    found = {}
    found["the second start"], told = bytes_read(project, environment, "snakemake", "-s", "workflow/rules/train.smk")
    assert "Nothing to be done" in told
    found["dvc status"], told = bytes_read(project, environment, "dvc", "status", stage)
    assert "up to date" in told
    with_run(project, "another")
    found["dvc repro that adds a run"], told = bytes_read(project, environment, "dvc", "repro", stage)
    assert "[1/2] reward_model: another, seed 0" in told
    return found


def test_a_large_checkpoint_is_not_read_again(dvc_project: Project, tmp_path: Path) -> None:
    small = measured(tmp_path / "small", dvc_project, 1000)
    large = measured(tmp_path / "large", dvc_project, GIGABYTES * 1e9)
    for command, count in large.items():
        print(f"{command}: {(count - small[command]) / 1e6:.2f} MB more than beside a small checkpoint ({count / 1e6:.0f} MB)")
        assert count - small[command] < ALLOWED, command
