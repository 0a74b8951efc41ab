"""Declarations of tables and figures, read without importing their files."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import pqm.paper.tables
from pqm.errors import PqmError
from pqm.paper.declared import NEEDS, declared, names
from pqm.paper.results import Results
from pqm.paper.table import make_table

KINDS = ("tables", "figures")
WHOLE = {"TITLE": '"Mine"', "NEEDS": "()", "CAPTION": '"""\nMy own\ncaption.\n"""'}
TABLE = """
import pandas as pd

from pqm.paper.table import Table


def table(results, runs):
    return Table(pd.DataFrame({"x": [0.12345678]}), pd.DataFrame({"x": ["0.1"]}), "A note.")
"""


@pytest.fixture
def write_table(tmp_path, monkeypatch):
    """Write the file of a table to a folder that is added to the package."""
    monkeypatch.setattr(pqm.paper.tables, "__path__", [*pqm.paper.tables.__path__, str(tmp_path)])
    declared.cache_clear()

    def write(**constants: str) -> Path:
        file = tmp_path / "mine.py"
        file.write_text("".join(f"{name} = {value}\n" for name, value in constants.items()) + TABLE)
        return file

    yield write
    declared.cache_clear()
    sys.modules.pop("pqm.paper.tables.mine", None)


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in KINDS for name in names(kind)])
def test_every_result_declares_what_it_is_and_defines_its_functions(kind, name):
    result = declared(kind, name)
    assert result.title and result.caption and result.caption == " ".join(result.caption.split())
    assert result.caption.endswith(".") and result.caption.count("``") % 2 == 0
    tables = [need.removeprefix("table ") for need in result.needs if need.startswith("table ")]
    assert set(tables) <= set(names("tables"))
    module = importlib.import_module(result.module)
    assert all(callable(getattr(module, function)) for function in (("table",) if kind == "tables" else ("data", "draw")))


def test_titles_differ():
    titles = [declared(kind, name).title for kind in KINDS for name in names(kind)]
    assert len(set(titles)) == len(titles)


def test_every_need_is_used():
    used = {need for kind in KINDS for name in names(kind) for need in declared(kind, name).needs}
    assert {need for need in used if not need.startswith("table ")} == NEEDS


def test_declarations_are_read_without_heavy_imports():
    code = (
        "import sys; from pqm.paper.declared import declared, names;"
        "[declared(kind, name) for kind in ('tables', 'figures') for name in names(kind)];"
        "print([name for name in ('scipy', 'matplotlib', 'pandas', 'torch', 'pqm.paper.tables.main') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_file_makes_a_table(write_table, write_study, tmp_path):
    write_table(**WHOLE)
    assert names("tables").count("mine") == 1
    result = declared("tables", "mine")
    assert (result.title, result.needs, result.caption) == ("Mine", (), "My own caption.")
    results = Results(write_study(results={"tables": {"mine": []}}))
    make_table("mine", results, tmp_path / "made")
    assert pd.read_csv(tmp_path / "made/mine.csv")["x"].tolist() == [0.123457]
    assert (tmp_path / "made/mine.md").read_text().endswith("\n\nMy own caption. A note.\n")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"CAPTION": None}, "CAPTION is missing; expected CAPTION = .., a literal str"),
        ({"TITLE": "str(1)"}, "TITLE is missing; expected TITLE = .., a literal str"),
        ({"NEEDS": '("metrics")'}, "NEEDS is missing; expected NEEDS = .., a literal tuple"),
        ({"NEEDS": '("metric",)'}, "NEEDS: unknown need 'metric'; did you mean 'metrics'?"),
    ],
)
def test_a_file_that_declares_too_little_is_named(write_table, change, words):
    file = write_table(**{name: value for name, value in (WHOLE | change).items() if value is not None})
    with pytest.raises(PqmError, match=re.escape(f"{file}: {words}")) as refusal:
        declared("tables", "mine")
    assert "\n" not in str(refusal.value)


def test_an_unknown_result_is_refused():
    with pytest.raises(PqmError, match=r"^no figure 'margins'; did you mean 'margin'\?$"):
        declared("figures", "margins")
