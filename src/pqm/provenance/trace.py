"""The provenance of an output as a tree, back to settings, code and seeds, each with its state."""

import json
import os
from pathlib import Path
from typing import Any

from pqm.errors import PqmError
from pqm.provenance.digests import Digests
from pqm.provenance.records import Record, read_record, record_files, settings_digest, settings_part
from pqm.study.freezing import frozen_text
from pqm.study.layout import RECORD_ENDING, Layout
from pqm.study.reading import load_study, study_file
from pqm.workflow.dvc_stages import OUTPUTS, folders_of

SAME, CHANGED, ABSENT = "same", "CHANGED", "absent"
CODE = ("src/", "workflow/")


class Trace:
    """Follows the records of a study backwards."""

    def __init__(self, study: str) -> None:
        self.now: dict[str, Any] = json.loads(frozen_text(load_study(study_file(study))))
        self.digests = Digests()
        layout = Layout.of(study)
        records = [record for path in record_files([layout.data, layout.results]) if (record := read_record(path))]
        self.made_by = {output: record for record in records for output in record.outputs}
        self.shown: set[int] = set()

    def state(self, path: str, was: str | None) -> str:
        """The state of a file or folder, compared with its digest in a record."""
        now = self.digests.of(path)
        return ABSENT if now is None else SAME if now == was else CHANGED

    def lines(self, record: Record, depth: int = 0) -> list[str]:
        """The lines of a record and, indented, of the records of its inputs; each record once."""
        pad = "    " * depth
        outputs = list(record.outputs)
        states = {path: self.state(path, was) for path, was in record.outputs.items()}
        head = outputs[0] + (f" and {len(outputs) - 1} more" if len(outputs) > 1 else "")
        if id(record) in self.shown:
            return [f"{pad}{head}: see above"]
        self.shown.add(id(record))
        worst = next((state for state in (CHANGED, ABSENT) if state in states.values()), SAME)
        lines = [f"{pad}{head}: {worst}", f"{pad}  made by  {' '.join(record.command)}"]
        for name, was in record.settings.items():
            state = SAME if settings_digest(self.now, name) == was else CHANGED
            seeds = f" (seed {', '.join(found)})" if state == SAME and (found := _seeds(settings_part(self.now, name))) else ""
            lines.append(f"{pad}  setting  {name.replace(',-', ' without ')}{seeds}: {state}")
        code = {path: was for path, was in record.inputs.items() if path.startswith(CODE)}
        for path, was in code.items():
            lines.append(f"{pad}  code     {path}: {self.state(path, was)}")
        sources = [path for path in record.inputs if path not in code]
        for path in sources:
            if path not in self.made_by:
                lines.append(f"{pad}  file     {path}: {self.state(path, record.inputs[path])}")
        makers = {id(self.made_by[path]): self.made_by[path] for path in sources if path in self.made_by}
        for maker in makers.values():
            lines += self.lines(maker, depth + 1)
        return lines


def _seeds(part: Any) -> list[str]:
    """All seeds in a part of the settings."""
    if not isinstance(part, dict):
        return []
    own = [str(value) for key, value in part.items() if key == "seed"]
    return [*own, *(seed for value in part.values() for seed in _seeds(value))]


def trace(path: Path) -> str:
    """The provenance of `path`, as text.

    Raises:
        PqmError: the path belongs to no study, or has no record.
    """
    relative = os.path.relpath(path)
    parts = Path(relative).parts
    if len(parts) < 3 or parts[0] not in ("data", "results"):
        raise PqmError(f"{path}: expected a path below data/STUDY or results/STUDY")
    found = Trace(parts[1])
    record = found.made_by.get(relative) or (read_record(relative) if relative.endswith(RECORD_ENDING) else None)
    for parent in Path(relative).parents:
        record = record or found.made_by.get(str(parent))
    if record is None:
        known = sorted(folder for stage in OUTPUTS for folder in folders_of(stage, parts[1]))
        raise PqmError(f"{path}: no record; expected an output in {', '.join(known)}")
    lines = found.lines(record)
    changed = sum(line.endswith((CHANGED, ABSENT)) for line in lines)
    return "\n".join([*lines, "", f"{changed} of {len(lines)} lines have changed" if changed else "nothing has changed"])
