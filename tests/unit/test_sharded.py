"""Training with weights sharded over two processes, with each file of config/accelerate; ZeRO-3 needs `deepspeed`."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.torch import load_file
from small import TRAINING

HERE = Path(__file__).parent
NO_DEEPSPEED = pytest.mark.skipif(importlib.util.find_spec("deepspeed") is None, reason="deepspeed is not installed")


@pytest.mark.parametrize(("way", "by"), [("fsdp2", "FSDP"), pytest.param("zero3", "DEEPSPEED", marks=NO_DEEPSPEED)])
def test_shared_weights_stop_and_continue_and_end_as_one_process_does(
    way: str, by: str, run_cli: Any, write_study: Any, tables: SimpleNamespace, policy: Path, tmp_path: Path
) -> None:
    run = {"loss": "pqm", "loss_settings": {"zeta": 4.0}, "labels": "tiny", "backbone": "tiny"}
    training = TRAINING.model_dump(mode="json") | {"epochs": 3.0, "batch_tokens": 300, "checkpoint_every": 3}

    def arguments(name: str, **changes: Any) -> list[str]:
        inputs = {"labels": tables.labels, "validation": tables.labels, "backbone": policy, "seed": 0}
        places = {"output": tmp_path / name, "cache": tmp_path / f"cache-{name}"}
        study = write_study(name, training=training | changes, runs={"tiny": run})
        options = [f"--{option}={value}" for option, value in (inputs | places).items()]
        return ["train", str(study), "tiny", *options]

    def launch(stop_at: int) -> subprocess.CompletedProcess[str]:
        launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--rdzv-backend=c10d"]
        file = HERE.parents[1] / f"config/accelerate/{way}.yaml"
        command = [*launcher, "--rdzv-endpoint=localhost:0", str(HERE / "sharded.py"), str(file), str(stop_at)]
        environment = os.environ | {"DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1"}
        return subprocess.run([*command, *arguments(way, accumulation=3)], env=environment, capture_output=True, text=True)

    assert run_cli(*arguments("one"))[0] == 0
    stopped = launch(stop_at=4)
    assert "stopped by SIGTERM after step 4; the state is saved" in stopped.stderr and not (tmp_path / way).exists(), (
        stopped.stderr
    )
    ended = launch(stop_at=0)
    assert ended.returncode == 0 and "continuing from step 4" in ended.stderr, ended.stderr
    assert f"shared by {by}" in ended.stderr
    one, shared = (pd.read_csv(tmp_path / name / "training.csv") for name in ("one", way))
    np.testing.assert_allclose(shared, one, atol=1e-5)
    weights = load_file(tmp_path / way / "model.safetensors")
    for name, weight in load_file(tmp_path / "one" / "model.safetensors").items():
        np.testing.assert_allclose(weights[name], weight, atol=1e-4)
