"""The check at the end of a DVC stage: every output is up to date, or DVC must not record it."""

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from pqm.errors import PqmError
from pqm.progress import say
from pqm.provenance.digests import Digests, files_below
from pqm.provenance.records import Record, read_record, record_files, settings_digest
from pqm.study.freezing import frozen_text
from pqm.study.layout import RECORD_ENDING, work_folder
from pqm.study.reading import load_study, study_file
from pqm.workflow.dvc_stages import folders_of, pages_of

SHOWN = 5  # changes in the message about one record


def check(study: str, stage: str, targets: Sequence[str] = ()) -> None:
    """Check the outputs of a stage.

    Outputs of items that the study no longer contains, and files without a record, are moved to `.work/<study>/removed`, so that
    DVC does not record them as outputs of this study.

    Args:
        targets: the outputs to check; by default all outputs of the stage.

    Raises:
        PqmError: an output is out of date; the message names what has changed.
    """
    now = json.loads(frozen_text(load_study(study_file(study))))
    folders = folders_of(stage, study)
    records = _records(stage, study, folders)
    aside = work_folder(study) / "removed"
    while True:
        # Moved outputs may be inputs of other outputs: check again, with new digests, until nothing is moved.
        digests = Digests()
        wrong = {path: changes for path, one in records.items() if (changes := one.changes(now, digests))}
        gone = [path for path in wrong if not targets and _is_gone(records[path], now, aside)]
        for path in gone:
            for output in (*records.pop(path).outputs, path):
                _move_aside(output, aside, "the study no longer contains its item")
        if not gone:
            break
    digests.save()
    if targets:
        wanted = set(targets)
        wrong = {path: changes for path, changes in wrong.items() if wanted & set(records[path].outputs)}
        missing = wanted - {output for one in records.values() for output in one.outputs}
        if missing:
            raise PqmError(f"no record of {', '.join(sorted(missing))}; expected one for each output")
    else:
        owned = {output for one in records.values() for output in one.outputs} | set(records)
        for folder in folders:
            for file in files_below(folder):
                if not _below(file, owned):
                    _move_aside(file, aside, "it has no record")
    if wrong:
        lines = [
            f"{path.removesuffix(RECORD_ENDING)}: changed since: {', '.join(changes[:SHOWN])}" for path, changes in wrong.items()
        ]
        raise PqmError("\n".join([*lines, f"{len(wrong)} outputs are out of date; build them again"]))


def _records(stage: str, study: str, folders: Sequence[str]) -> dict[str, Record]:
    paths = record_files(folders)
    if stage == "paper":
        paths += [path for path in pages_of(study) if path.endswith(RECORD_ENDING) and os.path.exists(path)]
    return {path: record for path in paths if (record := read_record(path)) is not None}


def _is_gone(record: Record, study: dict[str, object], aside: Path) -> bool:
    """Whether the study no longer contains the settings of a record, or an input was moved aside (not only missing)."""
    parts = any(was is not None and settings_digest(study, name) is None for name, was in record.settings.items())
    return parts or any((aside / path).exists() and not os.path.exists(path) for path in record.inputs)


def _below(file: str, owned: set[str]) -> bool:
    path = Path(file)
    return file in owned or any(str(parent) in owned for parent in path.parents)


def _move_aside(path: str, aside: Path, why: str) -> None:
    if not os.path.exists(path):
        return
    target = aside / path
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_dir():
        shutil.rmtree(target)
    shutil.move(path, target)
    for parent in list(Path(path).parents)[:-2]:  # without data/ and results/ themselves, and the working directory
        if parent.is_dir() and not any(parent.iterdir()):
            parent.rmdir()
    say(f"moved {path} to {target}: {why}")
