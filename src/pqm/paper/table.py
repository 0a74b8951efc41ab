"""Making a table and writing it as CSV, Markdown and LaTeX."""

import importlib
import re
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pqm.io import formats
from pqm.paper.declared import declared
from pqm.paper.results import Results

DIGITS = 6  # enough that percentages with one decimal, rounded from the CSV, are those of the Markdown
# What Markdown would read as marks: bars, emphasis, code, and HTML tags.
MARKDOWN_MARKS = re.compile(r"[\\`*|]|<(?=[A-Za-z/!?])")
LATEX_SIGNS = {"ζ": r"$\zeta$", "σ": r"$\sigma$", "↓": r"$\downarrow$", "≥": r"$\ge$"}
LATEX_ESCAPES = {"\\": r"\textbackslash ", "~": r"\textasciitilde ", "^": r"\textasciicircum "}


@dataclass(frozen=True)
class Table:
    """A table: `rows` for machines (CSV), `shown` for people (Markdown, LaTeX), and a `note` behind the caption."""

    rows: pd.DataFrame
    shown: pd.DataFrame
    note: str = ""


def make_table(name: str, results: Results, output: Path) -> None:
    """Write `{name}.csv`, with one row per value, `{name}.md` and `{name}.tex` to the folder `output`.

    Raises:
        PqmError: there is no such table, the study does not list it, or a run that it needs is missing.
    """
    result, runs = declared("tables", name), results.runs_of("tables", name)
    table: Table = importlib.import_module(result.module).table(results, runs)
    fixed = "" if "rebuilds" in result.needs else ", with the policies and backbones of this build"
    intervals = f" Intervals: {100 * results.config.confidence:g} %{fixed}." if "low" in table.rows else ""
    caption, note = result.caption + intervals, " ".join(table.note.split())
    _write(output / f"{name}.csv", table.rows.to_csv(index=False, float_format=f"%.{DIGITS}f"))
    _write(output / f"{name}.md", _markdown(table.shown, f"{caption} {_without_marks(note)}".strip()))
    _write(output / f"{name}.tex", _latex(table.shown, name, f"{caption} {note}".strip()))


def _write(path: Path, text: str) -> None:
    with formats.whole_file(path) as part:
        part.write_text(text)


def _markdown(shown: pd.DataFrame, caption: str) -> str:
    cells = shown.map(lambda cell: _without_marks(cell) if isinstance(cell, str) else cell)
    return f"{cells.to_markdown(index=False, disable_numparse=True)}\n\n{caption}\n"


def _without_marks(text: str) -> str:
    return MARKDOWN_MARKS.sub(r"\\\g<0>", text)


def _latex(shown: pd.DataFrame, name: str, caption: str) -> str:
    body = shown.to_latex(index=False, escape=True, caption=_latex_text(caption), label=f"tab:{name}")
    for sign, command in LATEX_SIGNS.items():
        body = body.replace(sign, command)
    return body


def _latex_text(caption: str) -> str:
    """A caption as LaTeX text, without its code marks."""
    for sign in "\\{}%&#_$~^":
        caption = caption.replace(sign, LATEX_ESCAPES.get(sign, rf"\{sign}"))
    return caption.replace("``", "")
