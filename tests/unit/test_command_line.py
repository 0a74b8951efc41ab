"""What the command line loads, and what it sets for the libraries that it loads."""

import os
import subprocess
import sys

HEAVY = ("torch", "transformers", "pandas", "pyarrow", "rich", "ruamel")
# The help of every verb, in one process: prints the number of verbs, and which of the packages are loaded.
HELP = f"""
import sys
from typer.main import get_command
from typer.testing import CliRunner
from pqm.cli.__main__ import app

def verbs(group, path):
    for name, verb in getattr(group, "commands", {{}}).items():
        yield from verbs(verb, [*path, name])
    yield path

found = list(verbs(get_command(app), []))
for path in found:
    result = CliRunner().invoke(app, [*path, "--help"])
    assert result.exit_code == 0 and "..." not in result.output.partition("Commands:")[2], (path, result.output)
print(len(found), *(name for name in {HEAVY} if name in sys.modules))
"""
# The modules of the verbs that work on tables, texts and settings only.
WITHOUT_TORCH = (
    "pqm.questions.generate",
    "pqm.policies.models",
    "pqm.rollouts.annotated",
    "pqm.rollouts.published",
    "pqm.labels.published",
    "pqm.evaluate.grades",
    "pqm.evaluate.judge",
    "pqm.evaluate.metrics",
    "pqm.evaluate.official",
    "pqm.estimation.first_errors",
    "pqm.paper.budget",
    "pqm.paper.cost",
    "pqm.paper.figure",
    "pqm.paper.headline",
    "pqm.paper.overview",
    "pqm.paper.report",
    "pqm.paper.table",
    "pqm.provenance.trace",
    "pqm.workflow.study_files",
)
# What a job sets before torch reads it, seen by a verb that ends at once.
SET = """
import os
from typer.testing import CliRunner
from pqm.cli.__main__ import app
CliRunner().invoke(app, ["--help"])
print(os.environ["OMP_NUM_THREADS"], os.environ["OMP_WAIT_POLICY"])
"""


def printed(code: str, **variables: str) -> list[str]:
    """The words that a Python program prints, without the variables of this process for threads."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("OMP_")}
    done = subprocess.run([sys.executable, "-c", code], env=own | variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_help_is_complete_and_loads_no_large_package():
    number, *loaded = printed(HELP)
    assert int(number) > 20 and not loaded


def test_no_torch_where_none_is_needed():
    code = f"import importlib, sys\nfor name in {WITHOUT_TORCH}:\n    importlib.import_module(name)\n"
    code += "    if 'torch' in sys.modules: sys.exit(name)\nprint('none')"
    assert printed(code) == ["none"]


def test_threads_of_a_job_are_one_and_sleep_while_they_wait():
    assert printed(SET) == ["1", "PASSIVE"]


def test_settings_of_threads_are_kept():
    assert printed(SET, OMP_NUM_THREADS="3", OMP_WAIT_POLICY="ACTIVE") == ["3", "ACTIVE"]
