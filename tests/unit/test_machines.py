"""Several processes, out-of-memory errors and preemption do not change the results."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.launchers import debug_launcher
from accelerate.state import AcceleratorState, GradientState, PartialState
from accelerate.utils.launch import prepare_deepspeed_cmd_env, prepare_multi_gpu_env
from small import TRAINING

import pqm.evaluate.scores as scores_stage
import pqm.models.sampling.batched as sampling
import pqm.train.train_step as train_step
from pqm.errors import PqmError
from pqm.evaluate.scores import Scorer, score
from pqm.hashes import checkpoint_hash
from pqm.io import formats
from pqm.io.shard_cache import ShardCache
from pqm.losses.common.steps import IGNORED
from pqm.models.devices import claim
from pqm.models.encoded import Encoded
from pqm.models.sampling import transformers_engine
from pqm.rollouts.sample import make_rollouts
from pqm.study.rollouts import RolloutsConfig
from pqm.study.runs import RunConfig
from pqm.study.settings import Precision
from pqm.train.data import LabelledRow, TrainingExample, labelled_trees, parts
from pqm.train.train_step import TrainStep
from pqm.train.trainer import Trainer, TrainingFiles

ROOT = Path(__file__).parents[2]
RUN = RunConfig(loss="pqm", loss_settings={"zeta": 4.0}, labels="tiny", backbone="tiny")
SETTINGS = TRAINING.model_copy(update={"epochs": 3.0, "batch_tokens": 300, "checkpoint_every": 3})
OUT = Path("out.parquet")  # the output that names a shard cache
ROLLOUTS = RolloutsConfig(samples=3, temperature=1.0, max_new_tokens=12, questions_per_batch=3, seed=5)

TrainIn = Callable[..., Path]


@pytest.fixture
def train_in(tmp_path: Path, tables: Any, policy: Path) -> TrainIn:
    """Train in a folder of this name, which may contain the state of an earlier attempt."""

    def run(name: str, labels: Path = tables.labels, precision: Precision = "fp32", **changes: Any) -> Path:
        training = SETTINGS.model_copy(update=changes)
        cache = ShardCache(tmp_path / name / "cache", "train", tmp_path / name / "model", [RUN, training], [labels])
        files = TrainingFiles(labels, tables.labels, policy)
        Trainer(RUN, training, 0, files, cache, precision).train(tmp_path / name / "model")
        cache.finish()
        return tmp_path / name / "model"

    return run


def log_of(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "training.csv")


def in_two(run: Callable[[], Any]) -> None:
    """Run a function in two connected processes (gloo), without the state of an earlier Accelerator."""

    def process() -> None:
        for state in (AcceleratorState, GradientState, PartialState):
            state._reset_state()
        os.environ["RANK"] = str(torch.distributed.get_rank())  # set by all other launchers
        torch.set_num_threads(1)
        run()

    debug_launcher(process, num_processes=2)


def calls(function: Callable[..., Any], at: int, do: Callable[[], None]) -> Callable[..., Any]:
    """The function; before its `at`-th call it calls `do`."""
    count = 0

    def call(*arguments: Any, **options: Any) -> Any:
        nonlocal count
        count += 1
        if count == at:
            do()
        return function(*arguments, **options)

    return call


def out_of_memory() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory (a stand-in)")


# ---------------------------------------------------------------- accelerate's files


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "config/accelerate").glob("*.yaml")))
def test_accelerate_reads_its_files(name: str) -> None:
    file = ROOT / f"config/accelerate/{name}.yaml"
    arguments = launch_command_parser().parse_args(["--config_file", str(file), "-m", "pqm.cli", "train"])
    arguments, _, _ = _validate_launch_command(arguments)
    ways = {"fsdp2": arguments.use_fsdp, "zero3": arguments.use_deepspeed, "cpu": arguments.multi_gpu and arguments.use_cpu}
    assert [way for way, on in ways.items() if on] == [name] * (name in ways)
    if name == "fsdp2":
        environment = prepare_multi_gpu_env(arguments)
        assert environment["FSDP_VERSION"] == "2" and environment["FSDP_AUTO_WRAP_POLICY"] == "TRANSFORMER_BASED_WRAP"
    if name == "zero3":
        arguments.deepspeed_fields_from_accelerate_config = ""
        environment = prepare_deepspeed_cmd_env(arguments)[1]
        assert environment["ACCELERATE_DEEPSPEED_ZERO_STAGE"] == "3"


# ---------------------------------------------------------------- processes and parts


def test_parts_contain_every_tree_and_solution_once() -> None:
    data = [
        TrainingExample(f"question {place % 5}", Encoded((place % 5, 7, 8 + place), (1, 2)), (float(place), 1.0))
        for place in range(8)
    ]
    trees = labelled_trees(data, 100)
    assert len(trees) == 5
    for count in (1, 2, 3, 5, 8):
        cut = parts(trees, count)
        sizes = [len(part.row.trees) for part in cut]
        assert len(cut) == count and min(sizes) >= 1 and max(sizes) - min(sizes) <= 1 and sum(sizes) == max(5, count)
        found = []
        for part in cut:
            assert part.row.tokens.shape == part.row.positions.shape == (1, sum(len(tree.tokens) for tree in part.row.trees))
            ends = part.row.tokens[0, part.step_ends].tolist()
            found += [(label, *tokens) for (label, _), tokens in zip(part.labels.tolist(), ends) if label != IGNORED]
        assert sorted(found) == [(float(place), 7, 8 + place) for place in range(8)]


@pytest.mark.parametrize("accumulation", [1, 3])
def test_two_processes_give_the_losses_of_one(accumulation: int, train_in: TrainIn, tmp_path: Path) -> None:
    one = train_in("one", checkpoint_every=1)
    in_two(lambda: train_in("two", checkpoint_every=1, accumulation=accumulation))
    np.testing.assert_allclose(log_of(tmp_path / "two/model"), log_of(one), atol=1e-5)
    assert len(log_of(one)) >= 5


def test_parts_and_a_precision_that_is_asked_for(train_in: TrainIn) -> None:
    one, cut = train_in("one"), train_in("cut", accumulation=4)
    np.testing.assert_allclose(log_of(cut), log_of(one), atol=1e-5)
    AcceleratorState._reset_state(reset_partial_state=True)
    half = train_in("half", precision="bf16")
    AcceleratorState._reset_state(reset_partial_state=True)
    assert checkpoint_hash(half) != checkpoint_hash(one)
    np.testing.assert_allclose(log_of(half)["loss"], log_of(one)["loss"], rtol=0.1)


def test_two_processes_stop_together_and_continue(train_in: TrainIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_two(lambda: train_in("whole", accumulation=2))

    def told() -> None:
        if PartialState().process_index == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch, pytest.raises(Exception, match="exit code 143"):
        patch.setattr(TrainStep, "__call__", calls(TrainStep.__call__, 2, told))
        in_two(lambda: train_in("cut", accumulation=2))
    (cache,) = (tmp_path / "cut" / "cache" / "train").glob("model-*@*")
    assert [path.name for path in cache.iterdir()] == ["state-00000002"]
    with monkeypatch.context() as patch, pytest.raises(Exception, match=r"exit code 9|reset by peer|closed"):
        patch.setattr(TrainStep, "__call__", calls(TrainStep.__call__, 3, lambda: os._exit(9)))
        in_two(lambda: train_in("cut", accumulation=2))
    in_two(lambda: train_in("cut", accumulation=2))
    for file in ("model.safetensors", "training.csv"):
        assert (tmp_path / "cut/model" / file).read_bytes() == (tmp_path / "whole/model" / file).read_bytes()
    assert not list((tmp_path / "cut" / "cache" / "train").iterdir())


# ---------------------------------------------------------------- preempted jobs


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def test_a_stopped_training_resumes(
    train_in: TrainIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = train_in("whole")
    with monkeypatch.context() as patch, pytest.raises(SystemExit) as end:
        patch.setattr(TrainStep, "__call__", calls(TrainStep.__call__, 4, terminate))
        train_in("cut")
    assert end.value.code == 143 and not (tmp_path / "cut/model").exists()
    assert "stopped by SIGTERM after step 4; the state is saved" in capsys.readouterr().err
    cut = train_in("cut")
    assert "continuing from step 4" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in cut.iterdir()} == {path.name: path.read_bytes() for path in whole.iterdir()}


def test_stopped_sampling_loses_no_finished_shard(
    run_cli: Any, settings: Any, tables: Any, policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = [settings("rollouts", **ROLLOUTS.model_dump()), "--policy", policy, "--questions", tables.questions]

    def run(name: str) -> int:
        return run_cli("rollouts", "sample", *inputs, "--output", tmp_path / name, "--cache", tmp_path / "cache")[0]

    assert run("whole.parquet") == 0
    with monkeypatch.context() as patch:
        patch.setattr(transformers_engine, "sample", calls(transformers_engine.sample, 2, terminate))
        assert run("cut.parquet") == 143
    assert [path.name for path in (tmp_path / "cache").rglob("*.pickle")] == ["shard-000000.pickle"]
    assert not (tmp_path / "cut.parquet").exists() and not list(tmp_path.rglob("*.part"))
    assert run("cut.parquet") == 0
    assert (tmp_path / "cut.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()


# ---------------------------------------------------------------- full memory


def full_above(trees: int, function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of a model and a batch, on a device with memory for so many trees."""

    def call(model: Any, batch: LabelledRow) -> Any:
        if len(batch.row.trees) > trees:
            out_of_memory()
        return function(model, batch)

    return call


def test_training_in_smaller_parts_is_the_same_training(
    train_in: TrainIn, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = train_in("whole")
    monkeypatch.setattr(train_step, "scores_of", full_above(3, train_step.scores_of))
    cut = train_in("cut")
    assert "out of memory: each process now reads its trees of a step in 2 parts" in capsys.readouterr().err
    np.testing.assert_allclose(log_of(cut), log_of(whole), atol=1e-6)


def test_validation_in_smaller_batches(train_in: TrainIn, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train_in("whole")
    monkeypatch.setattr(train_step, "step_scores", calls(train_step.step_scores, 3, out_of_memory))
    np.testing.assert_allclose(log_of(train_in("cut")), log_of(whole), atol=1e-6)


def test_training_for_which_one_solution_is_too_much(train_in: TrainIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_step, "scores_of", full_above(0, train_step.scores_of))
    with pytest.raises(PqmError, match="one tree of solutions at a time"):
        train_in("never")


def test_two_processes_start_again_in_smaller_parts(train_in: TrainIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_step, "scores_of", full_above(2, train_step.scores_of))
    with pytest.raises(Exception, match=r"run the same command again to resume from the last saved state|reset by peer|closed"):
        in_two(lambda: train_in("cut"))
    (cache,) = (tmp_path / "cut" / "cache" / "train").glob("model-*@*")
    assert (cache / "parts").read_text() == "2"
    in_two(lambda: train_in("cut"))
    monkeypatch.undo()
    np.testing.assert_allclose(log_of(tmp_path / "cut/model"), log_of(train_in("whole")), atol=1e-5)


def test_sampling_with_fewer_rows_draws_the_same_samples(
    tables: Any, policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = make_rollouts(ROLLOUTS, policy, tables.questions, ShardCache(tmp_path / "whole", "rollouts", OUT, [], []))
    one_batch = sampling._sample

    def small(*arguments: Any) -> Any:
        *_, rows = arguments
        if rows > 2:
            out_of_memory()
        return one_batch(*arguments)

    monkeypatch.setattr(sampling, "_sample", small)
    fewer = make_rollouts(ROLLOUTS, policy, tables.questions, ShardCache(tmp_path / "fewer", "rollouts", OUT, [], []))
    assert "out of memory: continuing with at most 5 samples at a time" in capsys.readouterr().err
    pd.testing.assert_frame_equal(fewer, whole, rtol=1e-6)
    monkeypatch.setattr(sampling, "_sample", lambda *_: out_of_memory())
    with pytest.raises(PqmError, match="out of memory with one sample"):
        make_rollouts(ROLLOUTS, policy, tables.questions, ShardCache(tmp_path / "never", "rollouts", OUT, [], []))


def test_scoring_in_smaller_batches_gives_the_same_scores(
    tables: Any, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def scores(name: str) -> pd.DataFrame:
        scorer = Scorer([checkpoint], "reward", 256)
        return score(scorer, tables.questions, [tables.rollouts], ShardCache(tmp_path / name, "evaluate", OUT, [], []))[0][0]

    whole = scores("whole")
    monkeypatch.setattr(scores_stage, "step_scores", calls(calls(scores_stage.step_scores, 1, out_of_memory), 2, out_of_memory))
    halves = scores("halves")
    said = capsys.readouterr().err
    assert "continuing with batches of 128 tokens" in said and "batches of 64 tokens" in said
    for one, other in zip(whole["step_scores"], halves["step_scores"]):
        np.testing.assert_allclose(one, other, atol=1e-6)
    monkeypatch.setattr(scores_stage, "step_scores", lambda *_: out_of_memory())
    with pytest.raises(PqmError, match="one solution at a time"):
        scores("never")


# ---------------------------------------------------------------- too long for the model


def test_solutions_too_long_to_train_on_are_left_out_and_counted(
    tables: Any, train_in: TrainIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = formats.read(tables.labels, formats.LABELS)
    long = table.iloc[[0, 3]].copy()
    for column in ("completions", "labels", "soft_labels", "hits", "counts"):
        long[column] = [list(value) * 20 for value in long[column]]
    formats.write(pd.concat([table, long]), formats.LABELS, tmp_path / "long.parquet")
    longer, plain = train_in("long", tmp_path / "long.parquet"), train_in("plain")
    assert json.loads((longer / "run.json").read_text())["too_long"] == {"training": 2, "validation": 0}
    assert "longer than the backbone's 160 positions" in capsys.readouterr().err
    assert checkpoint_hash(longer) == checkpoint_hash(plain)
    formats.write(long, formats.LABELS, tmp_path / "all.parquet")
    with pytest.raises(PqmError, match=r"all\.parquet: no solution has a step and fits into 160 positions"):
        train_in("none", tmp_path / "all.parquet")


def test_solutions_too_long_to_score_are_refused(tables: Any, checkpoint: Path, tmp_path: Path) -> None:
    table = formats.read(tables.rollouts, formats.ROLLOUTS)
    table.at[5, "steps"] = list(table["steps"][5]) * 20
    formats.write(table, formats.ROLLOUTS, tmp_path / "long.parquet")
    name, number = table["question_id"][5], table["sample_id"][5]
    with pytest.raises(PqmError, match=rf"long\.parquet: 1 of 24 .* 160 positions.*{name}'?, sample {number}, \d+ tokens"):
        cache = ShardCache(tmp_path / "cache", "evaluate", OUT, [], [])
        score(Scorer([checkpoint], "reward", 256), tables.questions, [tmp_path / "long.parquet"], cache)


# ---------------------------------------------------------------- GPUs


def on_gpus(count: int, command: str, folder: Path, **environment: str) -> subprocess.Popen[str]:
    """A job with exclusive GPUs from CUDA_VISIBLE_DEVICES."""
    everything = os.environ | {"TMPDIR": str(folder), "PYTHONPATH": str(ROOT / "src")} | environment
    arguments = [sys.executable, "-m", "pqm.models.devices", str(count), "sh", "-c", command]
    return subprocess.Popen(arguments, env=everything, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_jobs_at_the_same_time_have_different_gpus(tmp_path: Path) -> None:
    record = tmp_path / "record"
    note = f'echo "$0 $$ $CUDA_VISIBLE_DEVICES" >> {record}'
    command = f"sh -c '{note}' begin; sleep 0.3; sh -c '{note}' end"
    jobs = [on_gpus(count, command, tmp_path, CUDA_VISIBLE_DEVICES="0,1,GPU-2") for count in (1, 2, 1, 1, 2, 1)]
    assert [job.wait(timeout=30) for job in jobs] == [0] * 6
    busy: list[str] = []
    most, given = 0, []
    for line in record.read_text().splitlines():
        word, _, devices = line.split()
        for device in devices.split(","):
            if word == "begin":
                assert device not in busy, f"{device} has two jobs"
                busy.append(device)
            else:
                busy.remove(device)
        most = max(most, len(busy))
        given += [len(devices.split(","))] * (word == "begin")
    assert sorted(given) == [1, 1, 1, 1, 2, 2] and most >= 2 and not busy


def test_a_killed_job_releases_its_gpu(tmp_path: Path) -> None:
    first = on_gpus(1, "echo ready; exec sleep 60", tmp_path, CUDA_VISIBLE_DEVICES="7")
    assert first.stdout is not None and first.stdout.readline() == "ready\n"
    second = on_gpus(1, "echo $CUDA_VISIBLE_DEVICES", tmp_path, CUDA_VISIBLE_DEVICES="7")
    with pytest.raises(subprocess.TimeoutExpired):
        second.wait(timeout=0.5)
    first.kill()
    assert second.communicate(timeout=30)[0] == "7\n"
    first.communicate()


def test_a_job_waits_for_its_gpu_with_its_libraries_loaded(tmp_path: Path) -> None:
    first = on_gpus(1, "echo ready; exec sleep 60", tmp_path, CUDA_VISIBLE_DEVICES="7")
    assert first.stdout is not None and first.stdout.readline() == "ready\n"
    arguments = [sys.executable, "-X", "importtime", "-m", "pqm.models.devices", "1", "pqm", "study", "--help"]
    everything = os.environ | {"TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT / "src"), "CUDA_VISIBLE_DEVICES": "7"}
    with (tmp_path / "imports").open("w") as imports:
        second = subprocess.Popen(arguments, env=everything, stdout=subprocess.PIPE, stderr=imports, text=True)
    while "pandas\n" not in (tmp_path / "imports").read_text().replace(" ", ""):
        assert second.poll() is None
        time.sleep(0.1)
    with pytest.raises(subprocess.TimeoutExpired):
        second.wait(timeout=1)
    first.kill()
    first.communicate()
    assert "Usage: pqm study" in second.communicate(timeout=60)[0] and second.returncode == 0


def test_more_gpus_than_there_are(tmp_path: Path) -> None:
    job = on_gpus(2, "echo never", tmp_path, CUDA_VISIBLE_DEVICES="0")
    output, error = job.communicate(timeout=30)
    assert job.returncode == 1 and output == "" and error == "pqm: 2 GPUs requested, but only 1 available (0)\n"


DRIVER = """
int cuInit(unsigned flags) { return FAULT; }
int cuDeviceGetCount(int *count) { *count = COUNT; return 0; }
int cuDeviceGet(int *device, int index) { *device = index; return 0; }
int cuDeviceGetUuid(unsigned char *uuid, int device) {
    for (int place = 0; place < 16; place++) uuid[place] = place == 15 ? device + 1 : 0;
    return 0;
}
"""
FIRST = "GPU-00000000-0000-0000-0000-000000000001"
NONE = "pqm: 1 GPU requested, but there is none; on a machine without one, use device: cpu\n"


@pytest.fixture
def driver(tmp_path: Path) -> Callable[..., str]:
    """Make a stand-in for the driver of a machine with some GPUs; the folder of its library."""
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")

    def make(count: int, fault: int = 0) -> str:
        (tmp_path / "cuda.c").write_text(DRIVER)
        names = [f"-DCOUNT={count}", f"-DFAULT={fault}"]
        subprocess.run(["cc", "-shared", "-fPIC", *names, "-o", "libcuda.so.1", "cuda.c"], cwd=tmp_path, check=True)
        return str(tmp_path)

    return make


@pytest.mark.parametrize("asked", [1, 2])
def test_gpus_of_this_machine(asked: int, driver: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    job = on_gpus(asked, "echo $CUDA_VISIBLE_DEVICES; exit 3", tmp_path, LD_LIBRARY_PATH=driver(2))
    assert job.communicate(timeout=30)[0] == ",".join([FIRST, f"{FIRST[:-1]}2"][:asked]) + "\n"
    assert job.returncode == 3


def test_a_job_that_asks_for_no_gpu_sees_none(driver: Callable[..., str], tmp_path: Path) -> None:
    for environment in ({"LD_LIBRARY_PATH": driver(2)}, {"CUDA_VISIBLE_DEVICES": "0,1"}):
        job = on_gpus(0, 'echo "<$CUDA_VISIBLE_DEVICES>"', tmp_path, **environment)
        assert job.communicate(timeout=30)[0] == "<>\n" and job.returncode == 0


def test_a_job_that_asks_for_a_gpu_and_finds_none_stops(
    driver: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    for library in (str(tmp_path / "nothing"), driver(2, fault=100), driver(0)):
        job = on_gpus(1, "echo never", tmp_path, LD_LIBRARY_PATH=library)
        assert job.communicate(timeout=30) == ("", NONE) and job.returncode == 1


def test_a_claim_locks_no_more_than_it_needs(tmp_path: Path) -> None:
    assert [claim(["a", "b", "c"], count, tmp_path) for count in (1, 2)] == [["a"], ["b", "c"]]
