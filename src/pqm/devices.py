"""Runs a command on GPUs of its own: `python -m pqm.devices COUNT COMMAND..`.

Snakemake counts GPUs but does not say which ones a job may use. Each GPU of this machine has a lock file; the command
holds the locks of its GPUs as long as it lives, however it ends, and sees those alone (CUDA_VISIBLE_DEVICES). A cluster
that has set CUDA_VISIBLE_DEVICES is believed. Without a GPU, or with COUNT 0, the command runs as it is.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

VISIBLE = "CUDA_VISIBLE_DEVICES"
WAIT = 0.5  # seconds between two looks for a free GPU


def visible() -> list[str]:
    """The GPUs that this process may use."""
    if VISIBLE in os.environ:
        return [name for name in os.environ[VISIBLE].split(",") if name]
    if shutil.which("nvidia-smi") is None:
        return []
    listed = subprocess.run(["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"], capture_output=True, text=True)
    return listed.stdout.split() if listed.returncode == 0 else []


def claim(names: list[str], count: int, folder: Path) -> list[str]:
    """Lock `count` of these GPUs for this process and what it becomes; waits until so many are free."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "turn").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)  # one chooser at a time, or two could each hold half of what they need
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
    """An open file that is ours alone and that the command inherits; None where somebody has it."""
    file = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    os.set_inheritable(file, True)
    return file


def main() -> None:
    """Become the command, with GPUs of its own."""
    count, command = int(sys.argv[1]), sys.argv[2:]
    names = visible()
    if count and names:
        if count > len(names):
            sys.exit(f"pqm: {count} GPUs asked for, {len(names)} are here ({', '.join(names)})")
        folder = Path(tempfile.gettempdir(), f"pqm-gpus-{os.getuid()}")  # of this machine: names mean nothing elsewhere
        os.environ[VISIBLE] = ",".join(claim(names, count, folder))
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
