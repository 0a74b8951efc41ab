"""The study x, and recording its jobs."""

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from small import write_yaml

from pqm.errors import PqmError
from pqm.provenance.check import check
from pqm.provenance.digests import Digests
from pqm.provenance.records import run_and_record
from pqm.study.freezing import frozen_text
from pqm.study.reading import load_study

PROBLEMS = {"kind": "word-problems", "questions": 4, "facts": [1, 2], "seed": 1}
ROLLOUTS = {"samples": 2, "temperature": 1.0, "max_new_tokens": 8, "questions_per_batch": 2, "seed": 0}
STUDY: dict[str, Any] = {
    "questions": {"test": {"source": PROBLEMS}, "train": {"source": PROBLEMS | {"seed": 2}, "disjoint_from": ["test"]}},
    "rollouts": {"test": ROLLOUTS},
}
FROZEN = Path(".work/x/study.json")
CODE = "src/pqm/questions/generate.py"


def write_study(content: dict[str, Any]) -> None:
    write_yaml(Path("config/x/study.yaml"), content)
    FROZEN.parent.mkdir(parents=True, exist_ok=True)
    FROZEN.write_text(frozen_text(load_study(Path("config/x/study.yaml"))))


def frozen() -> dict[str, Any]:
    return json.loads(FROZEN.read_text())


def remembered(path: str | Path) -> str | None:
    """The digest of a path; it is also saved to the database."""
    found = Digests()
    digest = found.of(path)
    found.save()
    return digest


SAVE = """
import sys
import time
from pathlib import Path
from pqm.provenance.digests import Digests
digests = Digests()
for path in sorted(Path("data").glob(sys.argv[1] + "-*")):
    digests.of(path)
Path(sys.argv[1] + ".ready").touch()
while not Path("go").exists():
    time.sleep(0.001)
digests.save()
"""


def record_of(
    output: str, settings: Sequence[str] = (), inputs: Sequence[str] = (), text: str = "made", more: Sequence[str] = ()
) -> str:
    """Write an output (a folder if its name has no ending) by a recorded command, and return the record's path."""
    path = Path(output)
    path.parent.mkdir(parents=True, exist_ok=True)
    command = ["sh", "-c", f"printf '{text}' > {path}"]
    if not path.suffix:
        command = ["sh", "-c", f"mkdir -p {path}/inner && printf '{text}' > {path}/inner/weights"]
    record = path.with_suffix(".record.json")
    assert run_and_record(record, FROZEN, settings, inputs, [output, *more], command) == 0
    return str(record)


def recording(*command: str, record: str = "data/x/out.record.json", outputs: Sequence[str] = ("data/x/out.txt",)) -> list[str]:
    """The command that runs and records another command."""
    Path(record).parent.mkdir(parents=True, exist_ok=True)
    named = ["--study", str(FROZEN), "--settings", "rollouts.test", "--inputs", CODE, "--outputs", *outputs, record]
    return [sys.executable, "-m", "pqm.provenance", "record", record, *named, "--", *command]


def wait_for(path: Path) -> None:
    for _ in range(3000):
        if path.exists() and (path.name != "pid" or path.read_text().strip()):
            return
        time.sleep(0.01)
    raise AssertionError(f"{path} was not written")


CHANGES: dict[str, tuple[Callable[[], object], list[str]]] = {
    "nothing": (lambda: None, []),
    "a comment in the study": (lambda: write_study(dict(reversed(STUDY.items()))), []),
    "another item": (lambda: write_study(STUDY | {"rollouts": {"test": ROLLOUTS | {"seed": 5}}}), []),
    "setting": (
        lambda: write_study(STUDY | {"questions": STUDY["questions"] | {"test": {"source": PROBLEMS | {"seed": 9}}}}),
        ["setting questions.test"],
    ),
    "setting that is gone": (
        lambda: write_study(STUDY | {"questions": {"train": {"source": PROBLEMS | {"seed": 2}}}}),
        ["setting questions.test", "setting questions.train,-source"],
    ),
    "input": (lambda: Path(CODE).write_text("problems = 2\n"), [f"input {CODE}"]),
    "input that is gone": (lambda: Path(CODE).unlink(), [f"input {CODE}"]),
    "input that came": (lambda: Path("nothing").touch(), ["input nothing"]),
    "file of a folder": (lambda: Path("data/x/model/inner/weights").write_text("trained"), ["output data/x/model"]),
    "output": (lambda: Path("data/x/out.txt").write_text("edited"), ["output data/x/out.txt"]),
    "output that is gone": (lambda: Path("data/x/out.txt").unlink(), ["output data/x/out.txt"]),
    "same bytes again": (lambda: Path("data/x/out.txt").write_text("made"), []),
    "date": (lambda: os.utime("data/x/out.txt", (1, 1)), []),
}


TEST, TRAIN, SAMPLED = "data/x/questions/test.parquet", "data/x/questions/train.parquet", "data/x/rollouts/weak/test.parquet"
REMOVED = Path(".work/x/removed")
LAST = "outputs are out of date; build them again"


def below(folder: str) -> set[str]:
    return {path.as_posix() for path in Path(folder).rglob("*") if path.is_file()}


def recorded(*outputs: str) -> set[str]:
    return {name for output in outputs for name in (output, Path(output).with_suffix(".record.json").as_posix())}


def refused(stage: str, *targets: str) -> list[str]:
    with pytest.raises(PqmError) as refusal:
        check("x", stage, targets)
    return str(refusal.value).splitlines()


WHOLE = f"""\
results/x/tables/main.csv and 1 more: same
  made by  sh -c printf 'table' > results/x/tables/main.csv
  setting  rollouts (seed 0): same
  setting  questions without train (seed 1): same
  code     {CODE}: same
  file     config/reported.csv: same
    {SAMPLED}: same
      made by  sh -c printf 'sampled' > {SAMPLED}
      setting  rollouts.test (seed 0): same
      code     src/pqm/sampling.py: same
        {TEST}: same
          made by  sh -c printf 'test' > {TEST}
          setting  questions.test (seed 1): same
          code     {CODE}: same
    {TEST}: see above
    {TRAIN}: same
      made by  sh -c printf 'train' > {TRAIN}
      setting  questions.train (seed 2): same
      code     {CODE}: same
        {TEST}: see above

"""
