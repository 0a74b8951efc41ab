"""Commands of the workflow: `python -m pqm.provenance record ... -- COMMAND` and `python -m pqm.provenance check STUDY STAGE`.

`record` runs the command of a job and writes the record of its outputs. It imports no other packages, because every job starts
here.
"""

import argparse
import sys
from pathlib import Path

from pqm.errors import PqmError
from pqm.provenance.records import run_and_record


def main() -> None:
    """Run and record a job and exit with its exit code, or check the records of a stage."""
    place = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    parser = argparse.ArgumentParser(prog="python -m pqm.provenance")
    verbs = parser.add_subparsers(dest="verb", required=True)
    recording = verbs.add_parser("record", help="run the command after -- and record it")
    recording.add_argument("record", type=Path)
    recording.add_argument("--study", type=Path, required=True, help="the frozen study that the command reads")
    recording.add_argument("--settings", nargs="*", default=[], help="parts of the study that the outputs depend on")
    recording.add_argument("--inputs", nargs="*", default=[])
    recording.add_argument("--outputs", nargs="*", default=[])
    recording.add_argument("--gpus", type=int, help="run the command with so many exclusive GPUs, see pqm.models.devices")
    checking = verbs.add_parser("check", help="fail if outputs are out of date")
    checking.add_argument("study")
    checking.add_argument("stage", nargs="?", help="stage to check; by default all stages")
    checking.add_argument("targets", nargs="*")
    asked = parser.parse_args(sys.argv[1:place])
    if asked.verb == "record":
        outputs = [path for path in asked.outputs if path != str(asked.record)]
        command = sys.argv[place + 1 :]
        sys.exit(run_and_record(asked.record, asked.study, asked.settings, asked.inputs, outputs, command, asked.gpus))
    from pqm.provenance.check import check
    from pqm.workflow.dvc_stages import OUTPUTS

    try:
        if asked.stage not in (None, *OUTPUTS):
            raise PqmError(f"no stage {asked.stage!r}; expected one of {', '.join(OUTPUTS)}")
        for stage in [asked.stage] if asked.stage else OUTPUTS:
            check(asked.study, stage, asked.targets)
    except PqmError as error:
        sys.exit(f"pqm: {error}")


if __name__ == "__main__":
    main()
