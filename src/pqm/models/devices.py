"""Run a command with exclusive GPUs: `python -m pqm.models.devices COUNT COMMAND..`.

Snakemake counts GPUs but does not assign them to jobs. Each GPU of the machine has a lock file. The command holds the locks of
its GPUs until it ends, and sees only these GPUs (CUDA_VISIBLE_DEVICES). An existing CUDA_VISIBLE_DEVICES is respected, for
example one set by a cluster. With COUNT 0 the command sees no GPU.

Loading the libraries takes longer than the work of a small job. So a `pqm` command loads them before it waits for its GPUs, and
several jobs per GPU are started at once.
"""

import ctypes
import fcntl
import os
import sys
import tempfile
import time
import uuid
from importlib import import_module
from itertools import takewhile
from pathlib import Path
from types import ModuleType

VISIBLE = "CUDA_VISIBLE_DEVICES"
WAIT = 0.1  # seconds between two attempts to lock GPUs
JOBS_PER_GPU = 4  # one works on it, and the others load their libraries or wait
COMMAND = ("pqm", "pqm.cli.__main__")  # and its module
LIBRARIES = (
    "torch",
    "accelerate",
    "transformers.models.auto.modeling_auto",
    "transformers.models.llama.modeling_llama",
    "pandas",
)


def visible() -> list[str]:
    """The GPUs that this process may use."""
    if VISIBLE in os.environ:
        return [name for name in takewhile(lambda name: name != "-1", os.environ[VISIBLE].split(",")) if name]
    try:
        driver = ctypes.CDLL("libcuda.so.1")  # always there with a GPU, unlike nvidia-smi
    except OSError:
        return []
    count, device, number = ctypes.c_int(), ctypes.c_int(), (ctypes.c_ubyte * 16)()
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return []
    names = []
    for index in range(count.value):
        driver.cuDeviceGet(ctypes.byref(device), index)
        driver.cuDeviceGetUuid(ctypes.byref(number), device)
        names.append(f"GPU-{uuid.UUID(bytes=bytes(number))}")
    return names


def claim(names: list[str], count: int, folder: Path) -> list[str]:
    """Lock `count` of the GPUs for this process, also after `exec`; wait until that many are free."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "turn").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)  # one process chooses at a time, or two could each hold half of the GPUs they need
        while True:
            held = {name: file for name in names if (file := _lock(folder / name.replace("/", "-"))) is not None}
            if len(held) >= count:
                break
            for file in held.values():
                os.close(file)
            time.sleep(WAIT)
    mine = list(held)[:count]
    for name in held:
        if name not in mine:
            os.close(held[name])
    return mine


def _lock(path: Path) -> int | None:
    """Lock a file and return it, open and inheritable; None if another process holds the lock."""
    file = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    os.set_inheritable(file, True)
    return file


def main() -> None:
    """Run the command with its GPUs, in place of this process."""
    count, command = int(sys.argv[1]), sys.argv[2:]
    names = visible() if count else []
    if count > len(names):
        found = (
            f"only {len(names)} available ({', '.join(names)})"
            if names
            else "there is none; on a machine without one, use device: cpu"
        )
        sys.exit(f"pqm: {count} GPU{'s' if count > 1 else ''} requested, but {found}")
    loaded = _load() if count and command[0] == COMMAND[0] else None
    folder = Path(tempfile.gettempdir(), f"pqm-gpus-{os.getuid()}")  # a local folder, because GPU names are local
    os.environ[VISIBLE] = ",".join(claim(names, count, folder)) if count else ""
    if loaded is not None:
        sys.argv = command
        loaded.main()
    else:
        os.execvp(command[0], command)


def _load() -> ModuleType:
    """Import the command, which sets variables that libraries read, and then the libraries."""
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")  # or torch could look at all GPUs now, once and for all
    command = import_module(COMMAND[1])
    for name in LIBRARIES:
        import_module(name)
    return command


if __name__ == "__main__":
    main()
