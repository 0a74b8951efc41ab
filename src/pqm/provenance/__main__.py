"""What the workflow calls: `python -m pqm.provenance record ... -- COMMAND` and `python -m pqm.provenance check STUDY STAGE`.

`record` runs the command of a job and records what made its outputs. It imports the standard library alone, because every job
begins here.
"""

import argparse
import sys
from pathlib import Path

from pqm.errors import PqmError
from pqm.provenance.records import run_and_record


def main() -> None:
    """Record a job, and end with its exit code; or check the records of a stage."""
    place = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    parser = argparse.ArgumentParser(prog="python -m pqm.provenance")
    verbs = parser.add_subparsers(dest="verb", required=True)
    recording = verbs.add_parser("record", help="run the command behind -- and record it")
    recording.add_argument("record", type=Path)
    recording.add_argument("--study", type=Path, required=True, help="the frozen study that the command reads")
    recording.add_argument("--settings", nargs="*", default=[], help="parts of the study that the outputs depend on")
    recording.add_argument("--inputs", nargs="*", default=[])
    recording.add_argument("--outputs", nargs="*", default=[])
    checking = verbs.add_parser("check", help="refuse outputs that were made from something else than is there now")
    checking.add_argument("study")
    checking.add_argument("stage", nargs="?", help="all stages unless given")
    checking.add_argument("targets", nargs="*")
    asked = parser.parse_args(sys.argv[1:place])
    if asked.verb == "record":
        outputs = [path for path in asked.outputs if path != str(asked.record)]
        command = sys.argv[place + 1 :]
        sys.exit(run_and_record(asked.record, asked.study, asked.settings, asked.inputs, outputs, command))
    from pqm.dvc_stages import OUTPUTS
    from pqm.provenance.check import check

    try:
        if asked.stage not in (None, *OUTPUTS):
            raise PqmError(f"no stage {asked.stage!r}; expected one of {', '.join(OUTPUTS)}")
        for stage in [asked.stage] if asked.stage else OUTPUTS:
            check(asked.study, stage, asked.targets)
    except PqmError as error:
        sys.exit(f"pqm: {error}")


if __name__ == "__main__":
    main()
