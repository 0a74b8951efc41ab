"""Records of jobs: what a job read and wrote, by content.

A record is a JSON file next to the first output of a job:

    command     the `pqm` command
    settings    digests of the parts of the study that the job depends on
    inputs      digests of the files and folders that it read, with its code, computed before it started
    outputs     digests of the files and folders that it wrote

A record is valid as long as none of these has changed.
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
from pqm.study.layout import RECORD_ENDING, WORK

MISSING = object()


@dataclass(frozen=True)
class Record:
    """A record; the digest of a missing setting or path is None."""

    command: list[str]
    settings: dict[str, str | None]
    inputs: dict[str, str | None]
    outputs: dict[str, str | None]

    def changes(self, study: Mapping[str, Any], digests: Digests) -> list[str]:
        """What has changed since the record was written, one short text each; empty if the record is valid."""
        return [
            *(f"setting {name}" for name, was in self.settings.items() if settings_digest(study, name) != was),
            *(f"input {path}" for path, was in self.inputs.items() if digests.of(path) != was),
            *(f"output {path}" for path, was in self.outputs.items() if digests.of(path) != was or was is None),
        ]


def read_record(path: str | Path) -> Record | None:
    """Read the record in a file; None if it is missing or malformed."""
    try:
        return Record(**json.loads(Path(path).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def settings_digest(study: Mapping[str, Any], name: str) -> str | None:
    """The digest of a part of a frozen study; None if it has no such part.

    Args:
        study: the study as written by `pqm.study.freezing.frozen_text`.
        name: keys joined by dots, and then keys to leave out: `runs.bce,-policies,-seeds`.
    """
    part = settings_part(study, name)
    return None if part is MISSING else hashlib.sha256(json.dumps(part, sort_keys=True).encode()).hexdigest()


def settings_part(study: Mapping[str, Any], name: str) -> Any:
    """The part of a frozen study with a name (see `settings_digest`), or `MISSING`."""
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
    """The paths that are part of a record, without duplicates and temporary files, such as the address of a running server."""
    return [path for path in dict.fromkeys(paths) if not path.startswith(f"{WORK}/")]


def run_and_record(
    record: Path,
    study: Path,
    settings: Sequence[str],
    inputs: Sequence[str],
    outputs: Sequence[str],
    command: Sequence[str],
    gpus: int | None = None,
) -> int:
    """Run a command and write its record, unless it fails.

    Args:
        record: the file to write.
        study: the frozen study that the command reads.
        settings: names of the parts of the study that the outputs depend on, see `settings_digest`.
        gpus: how many GPUs the command gets, see `pqm.models.devices`; None for a command that runs no model. They are not
            recorded, because they change no result.

    Returns:
        The command's exit code.
    """
    frozen = json.loads(study.read_text(encoding="utf-8"))
    for path in outputs:
        _remove_parts(Path(path))
    digests = Digests()
    before = {path: digests.of(path) for path in lasting(inputs)}
    on_gpus = [] if gpus is None else [sys.executable, "-m", "pqm.models.devices", str(gpus)]
    code = _run([*on_gpus, *command])
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
    """Remove the unfinished files of a killed job."""
    for part in output.parent.glob(f".{glob.escape(output.name)}.*.part"):
        shutil.rmtree(part) if part.is_dir() else part.unlink()


def _run(command: Sequence[str]) -> int:
    """Run a command, forward SIGTERM and SIGINT to it, and return its exit code. On Linux it ends with this process."""
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
    """All records in some folders and their subfolders."""
    return sorted(
        os.path.join(parent, name)
        for folder in folders
        for parent, _, names in os.walk(folder)
        for name in names
        if name.endswith(RECORD_ENDING)
    )
