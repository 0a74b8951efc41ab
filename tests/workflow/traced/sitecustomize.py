"""On the path of a traced build: each Python process writes its arguments and the loaded modules of the project at its end."""

import atexit
import json
import os
import sys
from pathlib import Path


def _write() -> None:
    modules = sorted(name for name in sys.modules if name.split(".")[0] == "pqm")
    if modules and (folder := os.environ.get("PQM_TRACE")):
        Path(folder).mkdir(parents=True, exist_ok=True)
        Path(folder, f"{os.getpid()}-{os.urandom(4).hex()}.json").write_text(
            json.dumps({"arguments": sys.argv[1:], "modules": modules})
        )


atexit.register(_write)
