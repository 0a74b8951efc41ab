"""Records: what a job was told, what it read and what it wrote, by content.

A record is a JSON file beside the first output of a job:

    command     the `pqm` command that ran
    settings    digests of the parts of the study that it depends on
    inputs      digests of the files and folders that it read, code included, taken before it began
    outputs     digests of what it wrote

It is right as long as all of them are still so.
"""

import ctypes
import glob
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pqm.provenance.digests import Digests

ENDING = ".record.json"
MISSING = object()
PASSING = ".work/"  # what lies here belongs to one build (a running server's address), and is no part of a record


@dataclass(frozen=True)
class Record:
    """What made some outputs; digests are None where there was nothing."""

    command: list[str]
    settings: dict[str, str | None]
    inputs: dict[str, str | None]
    outputs: dict[str, str | None]

    def changes(self, study: Mapping[str, Any], digests: Digests) -> list[str]:
        """What is not as the record says, one short line each; none where the record is right."""
        return [
            *(f"setting {name}" for name, was in self.settings.items() if settings_digest(study, name) != was),
            *(f"input {path}" for path, was in self.inputs.items() if digests.of(path) != was),
            *(f"output {path}" for path, was in self.outputs.items() if digests.of(path) != was or was is None),
        ]


def read_record(path: str | Path) -> Record | None:
    """The record in a file; None where there is none, or none that can be read."""
    try:
        return Record(**json.loads(Path(path).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def settings_digest(study: Mapping[str, Any], name: str) -> str | None:
    """The digest of a part of a frozen study; None where it has no such part.

    Args:
        study: the study as `pqm.study.frozen_text` writes it.
        name: keys with dots between them; behind it, keys to leave out: `runs.bce,-policies,-seeds`.
    """
    part = settings_part(study, name)
    return None if part is MISSING else hashlib.sha256(json.dumps(part, sort_keys=True).encode()).hexdigest()


def settings_part(study: Mapping[str, Any], name: str) -> Any:
    """The part of a frozen study that `settings_digest` speaks of, or `MISSING`."""
    keys, *left_out = name.split(",-")
    part: Any = study
    for key in keys.split("."):
        if not isinstance(part, Mapping) or key not in part:
            return MISSING
        part = part[key]
    if left_out and isinstance(part, Mapping):
        part = {key: value for key, value in part.items() if key not in left_out}
    return part


def lasting(paths: Iterable[str]) -> list[str]:
    """The paths that a record is about, each once."""
    return [path for path in dict.fromkeys(paths) if not path.startswith(PASSING)]


def run_and_record(
    record: Path, study: Path, settings: Sequence[str], inputs: Sequence[str], outputs: Sequence[str], command: Sequence[str]
) -> int:
    """Run a command and record it; a command that fails is not recorded.

    Args:
        study: the frozen study that the command reads.

    Returns:
        The command's exit code.
    """
    frozen = json.loads(study.read_text(encoding="utf-8"))
    for path in outputs:
        _remove_parts(Path(path))
    digests = Digests()
    before = {path: digests.of(path) for path in lasting(inputs)}
    code = _run(command)
    if code:
        return code
    written = Record(
        list(command),
        {name: settings_digest(frozen, name) for name in settings},
        before,
        {path: digests.of(path) for path in outputs},
    )
    digests.save()
    part = record.with_name(record.name + ".part")
    part.write_text(json.dumps(asdict(written), indent=1) + "\n", encoding="utf-8")
    part.replace(record)
    return 0


def _remove_parts(output: Path) -> None:
    """Remove what a killed job left half written."""
    for part in output.parent.glob(f".{glob.escape(output.name)}.*.part"):
        shutil.rmtree(part) if part.is_dir() else part.unlink()


def _run(command: Sequence[str]) -> int:
    """Run a command, hand SIGTERM and SIGINT on to it, and wait until it ends. On Linux it dies with this process."""
    with subprocess.Popen(command, preexec_fn=_die_with_parent) as job:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda came, _: job.send_signal(came))
        code = job.wait()
    sys.stdout.flush()
    return code if code >= 0 else 128 - code


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def record_files(folders: Iterable[str]) -> list[str]:
    """Every record below some folders."""
    return sorted(
        os.path.join(parent, name)
        for folder in folders
        for parent, _, names in os.walk(folder)
        for name in names
        if name.endswith(ENDING)
    )
