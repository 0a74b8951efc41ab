"""The last build of a study from Snakemake's own records: its jobs over time, and its critical path."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from pqm.study.layout import Layout

PAUSE = 60.0  # seconds without a running job, which separate two builds
CHARACTER = 0.0047  # the width of a character, as a share of the chart; a bar has a label if it fits
STAGES = {
    "questions": "#999999",
    "policies": "#0072B2",
    "rollouts": "#56B4E9",
    "labels": "#009E73",
    "train": "#D55E00",
    "evaluate": "#E69F00",
    "paper": "#CC79A7",
}


@dataclass(frozen=True)
class Job:
    """A job: its name (the path of its log, without folder and ending), its files, and when it ran, in seconds since 1970."""

    name: str
    inputs: frozenset[str]
    outputs: frozenset[str]
    start: float
    end: float

    @property
    def seconds(self) -> float:
        """Wall-clock seconds."""
        return self.end - self.start

    @property
    def stage(self) -> str:
        """The stage that the job belongs to."""
        return self.name.partition("/")[0]


def last_build(project: Path, study: str) -> list[Job]:
    """The jobs of the study's last build, by their start."""
    layout, folder = Layout.of(study), project / ".snakemake/metadata"
    found: dict[str, tuple[dict[str, Any], set[str]]] = {}
    for path in folder.rglob("*"):
        if path.is_file():
            encoded = "".join(part.removeprefix("@") for part in path.relative_to(folder).parts)
            output = base64.b64decode(encoded).decode()
            if output.startswith((f"{layout.data}/", f"{layout.results}/")):
                facts = json.loads(path.read_text())
                found.setdefault(facts["log"][0], (facts, set()))[1].add(output)
    jobs = [
        Job(
            log.removeprefix(f"logs/{study}/").removesuffix(".log"),
            frozenset(facts["input"]),
            frozenset(outputs),
            facts["starttime"],
            facts["endtime"],
        )
        for log, (facts, outputs) in found.items()
    ]
    jobs.sort(key=lambda job: job.end, reverse=True)
    build: list[Job] = []
    for job in jobs:
        if build and job.end < min(one.start for one in build) - PAUSE:
            break
        build.append(job)
    return sorted(build, key=lambda job: job.start)


def critical_path(jobs: Sequence[Job]) -> list[Job]:
    """The chain of jobs, each needing an output of the one before, that takes longest in sum."""
    made_by = {output: job for job in jobs for output in job.outputs}
    chains: dict[str, list[Job]] = {}
    for job in jobs:  # a job starts after the jobs that it needs
        before = [chains[made_by[path].name] for path in job.inputs if path in made_by]
        chains[job.name] = [*max(before, key=_length, default=[]), job]
    return max(chains.values(), key=_length, default=[])


def _length(chain: Sequence[Job]) -> float:
    return sum(job.seconds for job in chain)


def lanes(jobs: Sequence[Job]) -> list[list[Job]]:
    """The jobs in as few lanes as possible, so that jobs in a lane do not overlap."""
    found: list[list[Job]] = []
    for job in jobs:
        free = next((lane for lane in found if lane[-1].end <= job.start + 0.5), None)
        if free is None:
            found.append(free := [])
        free.append(job)
    return found


def draw(jobs: Sequence[Job], path: Path) -> None:
    """Draw the jobs over time, coloured by stage, those on the critical path with a black edge."""
    start, critical = jobs[0].start, {job.name for job in critical_path(jobs)}
    rows = lanes(jobs)
    total = max(job.end for job in jobs) - start
    figure = Figure(figsize=(12, 1.2 + 0.7 * len(rows)), layout="constrained")
    axis = figure.subplots()
    for row, lane in enumerate(rows):
        for job in lane:
            marked = job.name in critical
            axis.barh(
                row, job.seconds / 60, left=(job.start - start) / 60, height=0.8, color=STAGES[job.stage],
                edgecolor="black" if marked else "white", linewidth=1.2 if marked else 0.2, zorder=2 + marked,
            )  # fmt: skip
            label, middle = job.name.partition("/")[2], (job.start + job.end) / 2 - start
            if len(label) * CHARACTER <= job.seconds / total:
                axis.text(middle / 60, row, label, ha="center", va="center", fontsize=7, zorder=4)
    used = [stage for stage in STAGES if any(job.stage == stage for job in jobs)]
    axis.legend(
        [axis.barh(0, 0, color=STAGES[stage]) for stage in used], used, ncols=len(used), fontsize=8, frameon=False,
        loc="lower center", bbox_to_anchor=(0.5, 1.0),
    )  # fmt: skip
    axis.set(xlabel="minutes since the start", yticks=[], xlim=(0, total / 60))
    axis.spines[["left", "right", "top"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None})
