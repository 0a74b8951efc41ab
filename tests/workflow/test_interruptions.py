"""A build that is killed repeatedly loses no finished job, and ends with the same bytes (takes minutes: `make test-long`)."""

import hashlib
import json
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from .conftest import STAGES, Project, copy_project
from .test_dvc import TIMED
from .test_reruns import stage_of

pytestmark = pytest.mark.skipif("PQM_LONG" not in os.environ, reason="takes minutes: make test-long")
KILLS = 20


def digest(path: Path) -> str | None:
    """The digest in a record, computed independently."""
    if path.is_dir():
        whole = hashlib.sha256()
        for file in sorted(str(file) for file in path.rglob("*") if file.is_file() and file.name != ".snakemake_timestamp"):
            whole.update(f"{Path(file).relative_to(path)}\0{hashlib.sha256(Path(file).read_bytes()).hexdigest()}\n".encode())
        return whole.hexdigest()
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None


def finished(project: Project) -> set[str]:
    """The first output of every job with a valid record."""
    found = set()
    for folder in ("data/tiny", "results/tiny"):
        for path in (project.folder / folder).rglob("*.record.json"):
            record = json.loads(path.read_text())
            parts = record["inputs"] | record["outputs"]
            if all(digest(project.folder / name) == was for name, was in parts.items()):
                found.add(next(iter(record["outputs"])))
    return found


@dataclass(frozen=True)
class Moment:
    """When to kill a build: seconds after the start of a job of a stage, after some more jobs, or while DVC hashes files."""

    stage: str = ""
    seconds: float = 0.0
    jobs: int = 0
    hashing: bool = False


# Two inside each stage, one while DVC hashes files, the others spread over the jobs: 21 and 22.
MOMENTS = [
    moment
    for stage in STAGES
    for moment in (Moment(stage, 0.4), Moment(jobs=3), Moment(stage, 2.2))
]  # fmt: skip


def has_come(moment: Moment, build: subprocess.Popen, project: Project, began: float, before: int) -> bool:
    if moment.hashing:
        told = (project.folder / "build.log").read_text()
        return "> python -m pqm.provenance check" in told and not children(build.pid)
    if moment.jobs:
        return len(records(project)) >= before + moment.jobs
    return any(path.stat().st_mtime >= began for path in (project.folder / "logs/tiny" / moment.stage).rglob("*.log"))


def children(pid: int) -> list[str]:
    return subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout.split()


def records(project: Project) -> list[Path]:
    return [*project.folder.glob("data/tiny/**/*.record.json"), *project.folder.glob("results/tiny/**/*.record.json")]


@pytest.mark.parametrize("tool", ["snakemake", "dvc"])
def test_killed_at_many_moments(tool: str, tmp_path: Path, snakemake_project: Project) -> None:
    project = copy_project(tmp_path / "pqm")
    if tool == "dvc":
        for command in ("init -q", "config user.email test@example.org", "config user.name test"):
            project.run("git", *command.split())
    command = ["snakemake", "--cores", "2", "all"] if tool == "snakemake" else ["dvc", "repro", "config/tiny/dvc.yaml"]
    total = len(project.planned("all"))
    waiting = list(MOMENTS)
    if tool == "dvc":
        waiting.insert(6, Moment(hashing=True))
    kills: list[Moment] = []
    done: set[str] = set()
    while True:
        left = {stage_of(rule) for rule, _ in project.planned("all")}
        while waiting and waiting[0].stage and waiting[0].stage not in left:
            waiting.pop(0)  # this stage has no job left to interrupt
        moment = waiting.pop(0) if waiting else None
        began, before = time.time(), len(records(project))
        with (project.folder / "build.log").open("w") as log:
            build = subprocess.Popen(
                command, cwd=project.folder, env=project.environment(), stdout=log, stderr=log, start_new_session=True
            )
        while build.poll() is None and not (moment and has_come(moment, build, project, began, before)):
            time.sleep(0.02)
        time.sleep(moment.seconds if moment else 0)
        if build.poll() is not None:
            assert build.returncode == 0, (project.folder / "build.log").read_text()[-3000:]
            break
        os.killpg(build.pid, signal.SIGKILL)
        build.wait()
        kills.append(moment)
        now_done = finished(project)
        assert done <= now_done, f"{moment}: no finished job was lost"
        done = now_done
        told = project.run("snakemake", "-n", "all")
        if list((project.folder / ".snakemake/locks").glob("*.lock")):
            assert "To remove it: snakemake --unlock" in told
            project.run("snakemake", "--unlock")
        planned = {outputs[0] for _, outputs in project.planned("all")}
        assert planned.isdisjoint(done), f"{moment}: what has a right record is not made again"
        assert len(planned) + len(done) == total, f"{moment}: all that has none is"
    print(f"{tool}: {len(kills)} kills, {total} jobs")
    assert len(kills) >= KILLS
    assert "Nothing to be done" in project.run("snakemake", "all")
    assert not list(project.folder.glob("*/tiny/**/*.part"))
    if tool == "dvc":
        assert "up to date" in project.run("dvc", "status", "config/tiny/dvc.yaml")
    for kind in ("tables", "figures"):
        for path in (snakemake_project.folder / "results/tiny" / kind).glob("*.csv"):
            if path.stem not in TIMED:
                mine = project.folder / path.relative_to(snakemake_project.folder)
                assert mine.read_bytes() == path.read_bytes(), path.stem
