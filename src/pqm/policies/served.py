"""Policies that a server with the OpenAI completions protocol runs: their folder, and starting their server.

A served policy's folder holds `server.json` instead of weights, beside its `solution_format.json`.
"""

import ctypes
import os
import shlex
import signal
import socket
import sys
from pathlib import Path
from typing import NoReturn

from pqm import formats
from pqm.config import PolicyConfig, ServerConfig, Settings
from pqm.errors import PqmError
from pqm.study import load

FILE_NAME = "server.json"


class RunningServer(Settings):
    """Where a server that `serve` started answers, and its process."""

    url: str
    pid: int


def is_served(policy: Path) -> bool:
    """Whether the folder names a server instead of holding weights."""
    return (policy / FILE_NAME).exists()


def read_server(policy: Path) -> ServerConfig:
    """The server of a served policy."""
    return load(ServerConfig, policy / FILE_NAME)


def write_served_policy(config: PolicyConfig, folder: Path) -> None:
    """Name the server in `folder`."""
    assert config.server is not None and config.format is not None
    (folder / FILE_NAME).write_text(config.server.model_dump_json(indent=2) + "\n")
    config.format.save(folder)


def serve(policy: Path, output: Path, end_with_parent: bool) -> NoReturn:
    """Become the policy's server on a free port of this machine, and say in `output` where it will answer.

    `output` appears before the server answers, for Snakemake starts a service and its users together. This process becomes
    the server, so that Snakemake's signals reach it; `end_with_parent` (Linux) ends it even where Snakemake is killed.

    Raises:
        PqmError: the policy has no command, or it cannot be run.
    """
    server = read_server(policy)
    if server.command is None:
        raise PqmError(f"{policy}: its server runs at {server.url}; it has no command that starts one")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = shlex.split(server.command.replace("{port}", str(port)))
    with formats.whole_file(output) as part:
        part.write_text(RunningServer(url=f"http://127.0.0.1:{port}/v1", pid=os.getpid()).model_dump_json() + "\n")
    if end_with_parent and sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)
    try:
        os.execvp(words[0], words)
    except OSError as error:
        output.unlink()
        raise PqmError(f"{policy / FILE_NAME}: command {words[0]!r} cannot be run ({error.strerror})") from None
