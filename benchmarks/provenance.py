"""What records cost: a start with nothing to do, and each job, in the demo study widened to many runs.

    python benchmarks/provenance.py [RUNS]

Every job of the study is replaced by one that writes its outputs at once, so that only Snakemake and the records take time.
Prints the seconds of a start with nothing to do and how many of them records add, and the seconds that recording adds to a job.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
TRIES = 5
# Replaces `pqm`: writes what the command names as its outputs.
SHIM = """#!/bin/bash
verb="$1 $2"; name=$3
while [ $# -gt 0 ]; do
  case "$1" in --output) outputs+=("$2"); shift;; esac
  shift
done
for output in "${outputs[@]}"; do
  mkdir -p "$(dirname "$output")"
  case "$verb" in
    "paper table") mkdir -p "$output"; for form in csv md tex; do echo "$name" > "$output/$name.$form"; done;;
    "paper figure") mkdir -p "$output"; for form in svg png pdf csv; do echo "$name" > "$output/$name.$form"; done;;
    *) case "$output" in *.*) echo x > "$output";; *) mkdir -p "$output"; echo x > "$output/model.safetensors";; esac;;
  esac
done
"""
# Snakemake, with a clock around what records add to a start: reading the study, and finding dates by contents.
TIMED = """
import sys, time
spent = 0.0
def timed(function):
    def run(*arguments, **options):
        global spent
        began = time.perf_counter()
        try:
            return function(*arguments, **options)
        finally:
            spent += time.perf_counter() - began
    return run
began = time.perf_counter()
from pqm.provenance.content_dates import ContentDates
from pqm.study import reading
from pqm.workflow import checks
spent += time.perf_counter() - began
reading.load_study, checks.faults = timed(reading.load_study), timed(checks.faults)
ContentDates._is_right = timed(ContentDates._is_right)
from snakemake.cli import main
try:
    main(sys.argv[1:])
finally:
    print(f"spent {spent:.3f}", file=sys.stderr)
"""


def main() -> None:
    """Build the widened study once, and print the figures."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder, "pqm")
        for part in ("config", "envs", "profiles", "src", "workflow"):
            shutil.copytree(ROOT / part, project / part, ignore=shutil.ignore_patterns("__pycache__"))
        for file in ("Snakefile", "params.yaml"):
            shutil.copy(ROOT / file, project / file)
        shim = project / "bin/pqm"
        shim.parent.mkdir()
        shim.write_text(SHIM)
        shim.chmod(0o755)
        study = project / "config/demo/study.yaml"
        more = "".join(
            f"  more-{number}: {{loss: bce, labels: train, backbone: error-detecting}}\n" for number in range(runs - 15)
        )
        study.write_text(study.read_text().replace("\nruns:\n", f"\nruns:\n{more}"))
        environment = os.environ | {
            "PATH": f"{shim.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(project / "src"),
        }

        def run(*command: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=True)

        began = time.perf_counter()
        run("snakemake", "--cores", "4", "all", "evaluate")
        jobs = len(list(project.rglob("*.record.json")))
        print(f"{runs} runs, {jobs} jobs, built in {time.perf_counter() - began:.0f} s by commands that do nothing")
        starts, added = [], []
        for _ in range(TRIES):
            began = time.perf_counter()
            printed = run(sys.executable, "-c", TIMED, "all", "evaluate").stderr
            starts.append(time.perf_counter() - began)
            assert "Nothing to be done" in printed
            added.append(float(printed.rsplit("spent ", 1)[1]))
        print(f"a start with nothing to do: {statistics.median(starts):.2f} s, of which records {statistics.median(added):.2f} s")
        table = project / "results/demo/tables/main.record.json"
        inputs = list(json.loads(table.read_text())["inputs"])
        recorded, plain = [], []
        for _ in range(TRIES):
            began = time.perf_counter()
            run(
                sys.executable, "-m", "pqm.provenance", "record", str(project / "x.record.json"), "--study", ".work/demo/study.json",
                "--settings", "evaluation", "--inputs", *inputs, "--outputs", "params.yaml", "--", "true",
            )  # fmt: skip
            recorded.append(time.perf_counter() - began)
            began = time.perf_counter()
            run("true")
            plain.append(time.perf_counter() - began)
        cost = statistics.median(recorded) - statistics.median(plain)
        print(f"recording a job with {len(inputs)} inputs: {1000 * cost:.0f} ms; all {jobs} jobs: {cost * jobs:.0f} s")


if __name__ == "__main__":
    main()
