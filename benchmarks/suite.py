"""Run all benchmarks, print one table, and write the tables of `docs/performance.md`.

    python benchmarks/suite.py [PART ...]

A part is a module of this folder; without a name, all parts of `PARTS` run. Tables of other parts stay as they are. `load` and `gpu`
run only if they are named, because they need minutes, and a GPU.
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench import FOLDER, ROOT, Row, facts, table

PARTS = ("training", "losses", "scoring", "sampling", "labelling", "evaluation", "workflow", "growth", "busy")
NAMED_PARTS = ("load", "gpu")
PAGE = ROOT / "docs/performance.md"


def run(part: str) -> bool:
    """Run a part in a process of its own; whether it succeeded."""
    return subprocess.run([sys.executable, Path(__file__).with_name(f"{part}.py")], cwd=ROOT).returncode == 0


def measured(part: str) -> tuple[dict[str, str], list[Row]]:
    """The facts and rows that the last run of a part has kept; no rows if there is none."""
    path = FOLDER / f"{part}.json"
    if not path.exists():
        return {}, []
    kept: dict[str, Any] = json.loads(path.read_text())
    return kept["facts"], [Row(**row) for row in kept["rows"]]


def goals(rows: list[Row]) -> str:
    """How many goals are reached, and a table of those that are not."""
    judged = [row for row in rows if row.goal]
    missed = [row for row in judged if not row.reached]
    text = f"{len(judged) - len(missed)} of {len(judged)} goals are reached."
    return text if not missed else f"{text} These are not:\n\n{table(missed)}"


def fill(page: str, name: str, text: str) -> str:
    """The page with `text` between the marks of a block.

    Raises:
        ValueError: the page has no such block.
    """
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    block = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if not block.search(page):
        raise ValueError(f"{PAGE}: no block {begin}")
    return block.sub(lambda _: f"{begin}\n{text}\n{end}", page)


def write_page() -> None:
    """Write what all parts have measured into the page."""
    page, every = PAGE.read_text(), []
    for part in (*PARTS, *NAMED_PARTS):
        where, rows = measured(part)
        every += rows
        if rows:
            page = fill(page, part, f"Measured on {where['date']}: {where['cpu']}, {where['versions']}.\n\n{table(rows)}")
    PAGE.write_text(fill(page, "goals", goals(every)))


def main(parts: list[str]) -> None:
    """Run the parts in order; a part that fails is named at the end."""
    if unknown := set(parts) - {*PARTS, *NAMED_PARTS}:
        sys.exit(f"no benchmark {min(unknown)!r}; expected one of {', '.join((*PARTS, *NAMED_PARTS))}")
    chosen = parts or list(PARTS)
    failed = [part for part in chosen if not run(part)]
    rows = [row for part in chosen if part not in failed for row in measured(part)[1]]
    print(f"\n{', '.join(facts().values())}\n\n{table(rows)}")
    write_page()
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main(sys.argv[1:])
