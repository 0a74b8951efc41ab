"""The check that ends a DVC stage: every output was made from what is there now, or DVC must not record it."""

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from pqm.dvc_stages import REPORT, folders_of, located
from pqm.errors import PqmError
from pqm.progress import say
from pqm.provenance.digests import Digests, files_below
from pqm.provenance.records import ENDING, Record, read_record, record_files, settings_digest
from pqm.study import frozen_text, load_study, study_file

SHOWN = 5  # changes told of one record


def check(study: str, stage: str, targets: Sequence[str] = ()) -> None:
    """Check the outputs of a stage.

    Outputs of items that the study no longer has, and files that no job made, are moved to `.work/<study>/removed`, so that
    DVC does not record them as this study's.

    Args:
        targets: only these outputs, else all of the stage.

    Raises:
        PqmError: an output was made from something else than is there now; the message names the change.
    """
    now = json.loads(frozen_text(load_study(study_file(study))))
    folders = folders_of(stage, study)
    records = _records(stage, study, folders)
    aside = Path(".work", study, "removed")
    while True:
        # Moved outputs may have been inputs of others: look again, with nothing remembered, until all is still.
        digests = Digests()
        wrong = {path: changes for path, one in records.items() if (changes := one.changes(now, digests))}
        gone = [path for path in wrong if not targets and _is_gone(records[path], now, aside)]
        for path in gone:
            for output in (*records.pop(path).outputs, path):
                _move_aside(output, aside, "the study no longer has what made it")
        if not gone:
            break
    digests.save()
    if targets:
        wanted = set(targets)
        wrong = {path: changes for path, changes in wrong.items() if wanted & set(records[path].outputs)}
        missing = wanted - {output for one in records.values() for output in one.outputs}
        if missing:
            raise PqmError(f"no record of who made {', '.join(sorted(missing))}")
    else:
        owned = {output for one in records.values() for output in one.outputs} | set(records)
        for folder in folders:
            for file in files_below(folder):
                if not _below(file, owned):
                    _move_aside(file, aside, "no record says who made it")
    if wrong:
        told = [f"{path.removesuffix(ENDING)}: changed since: {', '.join(changes[:SHOWN])}" for path, changes in wrong.items()]
        raise PqmError(
            "\n".join([*told, f"{len(wrong)} outputs were made from something else than is there now; build them again"])
        )


def _records(stage: str, study: str, folders: Sequence[str]) -> dict[str, Record]:
    paths = record_files(folders)
    if stage == "paper":
        paths += [path for path in (located(one, study) for one in REPORT) if path.endswith(ENDING) and os.path.exists(path)]
    return {path: record for path in paths if (record := read_record(path)) is not None}


def _is_gone(record: Record, study: dict[str, object], aside: Path) -> bool:
    """Whether the study no longer has what these outputs were made from; a file that is merely not here is another matter."""
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
    for parent in list(Path(path).parents)[:-2]:  # not data/ and results/ themselves, nor the working directory
        if parent.is_dir() and not any(parent.iterdir()):
            parent.rmdir()
    say(f"moved {path} to {target}: {why}")
