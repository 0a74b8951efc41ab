"""Run `pqm` as `accelerate launch` starts it with a file of config/accelerate, but on CPUs: accelerate shards on GPUs only.

    python -m torch.distributed.run --nproc-per-node 2 sharded.py FILE STOP_AT ARGUMENTS

After step STOP_AT the process sends itself SIGTERM, as a cluster would; 0 means never.
"""

import os
import signal
import sys

import torch
from accelerate import Accelerator, DistributedType
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils.launch import prepare_deepspeed_cmd_env, prepare_multi_gpu_env

import pqm.train.trainer
from pqm.cli.__main__ import main
from pqm.train.train_step import TrainStep


def as_launched(file: str) -> dict[str, str]:
    """The environment variables by which the launcher selects the sharding of the file."""
    arguments = launch_command_parser().parse_args(["--config_file", file, "-m", "pqm.cli"])
    arguments, _, _ = _validate_launch_command(arguments)
    arguments.deepspeed_fields_from_accelerate_config = ""
    told = prepare_deepspeed_cmd_env(arguments)[1] if arguments.use_deepspeed else prepare_multi_gpu_env(arguments)
    own = {name: value for name, value in told.items() if name.startswith(("ACCELERATE", "FSDP"))}
    return own | {"ACCELERATE_TORCH_DEVICE": "cpu", "ACCELERATE_MIXED_PRECISION": "no"}


def on_cpus() -> None:
    """Let accelerate use two CPUs, connected by gloo, as if they were GPUs."""
    PartialState._prepare_backend = lambda *_, **__: ("gloo", DistributedType.MULTI_GPU)
    pqm.train.trainer.Accelerator = lambda cpu, **options: Accelerator(**options)


def stopping(at: int) -> None:
    step, count = TrainStep.__call__, 0

    def counted(*arguments: object) -> object:
        nonlocal count
        count += 1
        if count == at:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(*arguments)

    TrainStep.__call__ = counted


if __name__ == "__main__":
    file, stop_at, *arguments = sys.argv[1:]
    torch.set_num_threads(1)
    os.environ.update(as_launched(file))
    on_cpus()
    stopping(int(stop_at))
    sys.argv = ["pqm", *arguments]
    try:
        main()
    finally:
        print(f"shared by {AcceleratorState().distributed_type.value}", file=sys.stderr)
