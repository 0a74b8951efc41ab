"""`python -m pqm.provenance record ... -- COMMAND`: run the command of a job and record what made its outputs.

Only the standard library is imported, because every job begins here.
"""

import argparse
import sys
from pathlib import Path

from pqm.provenance.records import run_and_record


def main() -> None:
    """Run the command behind `--`, and end with its exit code."""
    place = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    parser = argparse.ArgumentParser(prog="python -m pqm.provenance")
    parser.add_argument("what", choices=["record"])
    parser.add_argument("record", type=Path)
    parser.add_argument("--study", type=Path, required=True)
    parser.add_argument("--settings", nargs="*", default=[])
    parser.add_argument("--inputs", nargs="*", default=[])
    parser.add_argument("--outputs", nargs="*", default=[])
    asked = parser.parse_args(sys.argv[1:place])
    outputs = [path for path in asked.outputs if path != str(asked.record)]
    command = sys.argv[place + 1 :]
    sys.exit(run_and_record(asked.record, asked.study, asked.settings, asked.inputs, outputs, command))


if __name__ == "__main__":
    main()
