"""What each table and figure declares in its file, read without importing the file.

A result is a file in `pqm/paper/tables/` or `pqm/paper/figures/` with the result's name. It declares three literals: `TITLE`,
`NEEDS` and `CAPTION`, a paragraph in which ``code`` marks code. A table also defines `table(results, runs) -> Table`, a figure
`data(results, runs) -> DataFrame` and `draw(data) -> Figure`. `runs` are the runs that the study lists for the result.

Every start of a build and every check of a study reads the declarations, so this module imports neither scipy nor matplotlib.
"""

import ast
import pkgutil
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pqm.paper.figures
import pqm.paper.tables
from pqm.errors import PqmError
from pqm.study.faults import instead

# What a result may need; the rules make it first. Beside these there is "table NAME", for a result drawn from another table.
NEEDS = {
    "metrics",  # metrics of its runs and of the references
    "scores",  # step scores of its runs and of the references, with rollouts, grades and questions
    "checkpoints",  # checkpoints of every run
    "grades",  # grades of every policy on every scored data set
    "audit",  # labels of the audit set
    "audit labels",  # labels of the audit set, if there is one, where the truth of a benchmark's steps is unknown
    "validation",  # step scores of the validation set, to choose a threshold
    "validation labels",  # Monte Carlo labels of the validation set, where the truth of its steps is unknown
    "annotated",  # solutions with human-annotated first errors, and step scores of its runs on them
    "everything",  # outputs of all stages, to count tokens, and their benchmark files
    "solutions",  # published solutions with our grades
    "rebuilds",  # tables of rebuilds, which `make rebuilds` makes
    "reported",  # published numbers, which users fill in
}
OF_RUNS = {"metrics", "scores"}  # a result with one of these needs includes at least one run
PACKAGES = {"tables": pqm.paper.tables, "figures": pqm.paper.figures}
EXPECTED = {"TITLE": str, "NEEDS": tuple, "CAPTION": str}


@dataclass(frozen=True)
class Declared:
    """What the file of a table or figure declares.

    Attributes:
        name: the result's name.
        kind: `tables` or `figures`.
        title: its heading.
        needs: what it is made from, see `NEEDS`.
        caption: one line of text.
        module: the module with its functions.
        by_backbone: whether two of its runs may differ in their backbone only (`BY_BACKBONE = True` in the file).
        left_out_if_empty: whether pages leave it out while it has no rows (`LEFT_OUT_IF_EMPTY = True` in the file).
    """

    name: str
    kind: str
    title: str
    needs: tuple[str, ...]
    caption: str
    module: str
    by_backbone: bool = False
    left_out_if_empty: bool = False


def names(kind: str) -> list[str]:
    """The names of all `tables` or `figures`, sorted."""
    return [module.name for module in pkgutil.iter_modules(PACKAGES[kind].__path__)]


@cache
def declared(kind: str, name: str) -> Declared:
    """What the table or figure declares.

    Args:
        kind: `tables` or `figures`.

    Raises:
        PqmError: there is no such result, its file lacks a constant, or it needs something unknown.
    """
    known = names(kind)
    if name not in known:
        raise PqmError(f"no {kind.removesuffix('s')} {name!r}; {instead(name, known)}")
    module = f"{PACKAGES[kind].__name__}.{name}"
    spec = find_spec(module)
    assert spec is not None and spec.origin is not None, module
    constants = _constants(Path(spec.origin))
    for constant, expected in EXPECTED.items():
        if not isinstance(constants.get(constant), expected):
            raise PqmError(f"{spec.origin}: {constant} is missing; expected {constant} = .., a literal {expected.__name__}")
    for need in constants["NEEDS"]:
        if need not in NEEDS and not need.startswith("table "):
            raise PqmError(f"{spec.origin}: NEEDS: unknown need {need!r}; {instead(need, sorted(NEEDS))}")
    caption = " ".join(constants["CAPTION"].split())
    flags = [bool(constants.get(flag)) for flag in ("BY_BACKBONE", "LEFT_OUT_IF_EMPTY")]
    return Declared(name, kind, constants["TITLE"], constants["NEEDS"], caption, module, *flags)


def _constants(file: Path) -> dict[str, Any]:
    """The literals that a module assigns to upper-case names."""
    found: dict[str, Any] = {}
    for statement in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.Assign):
            for target in statement.targets:
                if isinstance(target, ast.Name) and target.id.isupper():
                    found[target.id] = _literal(statement.value)
    return found


def _literal(value: ast.expr) -> Any:
    try:
        return ast.literal_eval(value)
    except ValueError:
        return None
