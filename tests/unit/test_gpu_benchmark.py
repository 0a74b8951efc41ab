"""The GPU benchmark runs in a small form on any machine, with torch and transformers only."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
ELSEWHERE = ("accelerate", "datasets", "dvc", "pandas", "pyarrow", "pydantic", "snakemake", "typer")
SCRIPT = f"""
import runpy, sys
for name in {ELSEWHERE}:
    sys.modules[name] = None
sys.path.insert(0, "benchmarks")
sys.argv = ["benchmarks/gpu.py", "--tiny"]
runpy.run_path("benchmarks/gpu.py", run_name="__main__")
"""


def test_the_small_form_runs_and_both_ways_agree() -> None:
    variables = {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=ROOT, env=os.environ | variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines() if line.startswith("| ")]
    found = {row[0]: row for row in rows[1:]}
    assert found["greedy samples in float32 that are those of generate"][1:3] == ["8", "8"]
    for what, most in (("loss in mixed", 1e-5), ("gradient in mixed", 1e-5), ("scores in bf16", 0.1)):
        [row] = [row for name, row in found.items() if name.startswith(what)]
        assert float(row[1]) <= most and float(row[1]) <= 5 * float(row[2]) + 1e-6, row
    speeds = [float(row[1].replace(",", "")) for row in found.values() if row[3] == "tokens/s"]
    assert len(speeds) >= 8 and min(speeds) > 0


def test_without_a_gpu_the_whole_form_says_so() -> None:
    done = subprocess.run(
        [sys.executable, "benchmarks/gpu.py"],
        cwd=ROOT,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and done.stderr.startswith("no GPU: torch.cuda.is_available() is False")
