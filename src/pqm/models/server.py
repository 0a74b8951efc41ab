"""Policies on a server with the OpenAI completions protocol: their settings, and starting their server.

The folder of a served policy contains `server.json` instead of weights, and its `solution_format.json`.
"""

import ctypes
import os
import shlex
import signal
import socket
import sys
from pathlib import Path
from typing import NoReturn

from pqm.errors import PqmError
from pqm.io import formats
from pqm.study.models import ServerConfig
from pqm.study.reading import load
from pqm.study.settings import Settings

FILE_NAME = "server.json"


class RunningServer(Settings):
    """The address and process id of a server started by `serve`."""

    url: str
    pid: int


def read_server(policy: Path) -> ServerConfig:
    """Read the server settings of a served policy."""
    return load(ServerConfig, policy / FILE_NAME)


def serve(policy: Path, output: Path, end_with_parent: bool) -> NoReturn:
    """Replace this process by the policy's server, on a free port of this machine.

    Snakemake's signals thus reach the server.

    Args:
        policy: the policy's folder.
        output: file for the server's address. It is written before the server responds, because Snakemake starts a service
            and its users together.
        end_with_parent: end the server when its parent process ends, even if Snakemake is killed (Linux only).

    Raises:
        PqmError: the policy has no command, or the command cannot be run.
    """
    server = read_server(policy)
    if server.command is None:
        raise PqmError(f"{policy}: its server runs at {server.url}; there is no command to start")
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
