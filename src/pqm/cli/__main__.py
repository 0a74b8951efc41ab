"""The command line: one verb per stage. Every verb can also be run by hand on your own files."""

import os
import signal
import sys

import typer

from pqm.cli import evaluate, labels, paper, policies, provenance, questions, rollouts, study, train
from pqm.errors import PqmError

# One thread per job by default. Threads sleep while they wait: spinning ones lose most of their time when another program
# needs a core. No progress bars of other libraries in log files. All of these are read at import.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
if not sys.stderr.isatty():
    os.environ.setdefault("TQDM_DISABLE", "1")

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, add_completion=False, pretty_exceptions_enable=False)
app.command()(questions.questions)
app.add_typer(policies.app, name="policies")
app.add_typer(rollouts.app, name="rollouts")
app.command()(labels.labels)
app.command()(train.learning_rate)
app.command()(train.train)
app.add_typer(evaluate.app, name="evaluate")
app.add_typer(paper.app, name="paper")
app.command()(provenance.provenance)
app.add_typer(study.app, name="study")


def main() -> None:
    """Run a verb; a `PqmError` is printed to standard error, with exit code 1."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # an exception, so that temporary files are removed
    try:
        app(prog_name="pqm")
    except PqmError as error:
        print(f"pqm: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
