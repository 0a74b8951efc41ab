"""Building a study in this process, because small jobs spend most of their time on imports."""

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import Project


def commands(project: Project, study: str, *targets: str) -> Iterator[list[str]]:
    """The `pqm` commands for some targets, in an order in which they can run."""
    text = project.run("snakemake", "-n", "-p", "--config", f"study={study}", "--", *targets)
    jobs = re.findall(
        r"^rule \S+:\n((?:    .*\n)*)Shell command: .*? -- pqm (.*?) > \S+ 2>&1$",
        text,
        flags=re.M,
    )
    waiting = []
    for fields, command in jobs:
        listed = {kind: re.search(rf"^    {kind}: (.*)$", fields, flags=re.M)[1].split(", ") for kind in ("input", "output")}
        waiting.append((set(listed["input"]), set(listed["output"]), shlex.split(command)))
    while waiting:
        unmade = {path for _, outputs, _ in waiting for path in outputs}
        ready = [job for job in waiting if not job[0] & unmade]
        assert ready, "the jobs wait for each other"
        yield from (command for _, _, command in ready)
        waiting = [job for job in waiting if job not in ready]


def build(project: Project, study: str, monkeypatch: pytest.MonkeyPatch, *targets: str) -> None:
    """Build some targets of a study."""
    from accelerate.state import AcceleratorState

    from pqm.cli.__main__ import app
    from pqm.study.freezing import freeze
    from pqm.study.reading import load_study

    monkeypatch.chdir(project.folder)
    freeze(load_study(Path(f"config/{study}/study.yaml")), study)
    AcceleratorState._reset_state(reset_partial_state=True)  # it has one precision per process
    try:
        for command in commands(project, study, *targets):
            monkeypatch.setattr(sys, "argv", ["pqm", *command])
            app(command, standalone_mode=False)
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)
