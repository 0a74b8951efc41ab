"""Freezing a study for a build.

A build writes the whole study, with every default, to `.work/<study>/study.json`, and all of its jobs read this file. So editing
the study during a build does not affect the build.
"""

import fcntl
import os
from pathlib import Path

from pqm.errors import PqmError
from pqm.study.layout import WORK, work_folder
from pqm.study.study import StudyConfig


def frozen_text(study: StudyConfig) -> str:
    """The whole study as JSON, with every default."""
    return study.model_dump_json(indent=1) + "\n"


def frozen_file(name: str) -> Path:
    """The file from which the jobs of a build read their study."""
    return work_folder(name) / "study.json"


def freeze(study: StudyConfig, name: str) -> None:
    """Write the frozen study at the start of a build; a file with the same text is not touched.

    This process holds a lock until it ends, so that no other build of the study can replace the file.

    Raises:
        PqmError: another build of the study is running.
    """
    path, text = frozen_file(name), frozen_text(study)
    path.parent.mkdir(parents=True, exist_ok=True)
    if _hold(path.with_name("lock")) is None:
        raise PqmError(f"a build of study {name} is running; wait for it, or stop it")
    if not path.exists() or path.read_text() != text:
        part = path.with_suffix(".part")
        part.write_text(text)
        part.replace(path)


def _hold(path: Path) -> int | None:
    """Lock a file until this process ends, and return it; None if another process holds the lock."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def killed_build() -> bool:
    """Whether Snakemake's folder is locked although no build is running, because the last build was killed."""
    if not any(Path(".snakemake/locks").glob("*.lock")):
        return False
    for path in WORK.glob("*/lock"):
        if (lock := _hold(path)) is None:
            return False
        os.close(lock)
    return True
