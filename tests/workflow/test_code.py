"""The record of a job contains the code that the job used."""

import json
import os
from collections import defaultdict
from pathlib import Path

import grimp
import pytest

from pqm.workflow.code import NOT_IN_RESULTS

from .conftest import ROOT, TRACE, Project

MODULES = sorted(
    path.relative_to(ROOT / "src").with_suffix("").as_posix().replace("/", ".")
    for path in (ROOT / "src/pqm").rglob("*.py")
    if path.name != "__init__.py"
)


def file_of(module: str) -> str:
    return f"src/{module.replace('.', '/')}.py"


def is_left_out(module: str) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in NOT_IN_RESULTS)


def imported_by(modules: set[str]) -> set[str]:
    """The modules that some modules import, directly or indirectly."""
    graph = grimp.build_graph("pqm", cache_dir=None)
    return {one for module in modules for one in graph.find_upstream_modules(module)}


def loaded_by_command(project: Project) -> dict[tuple[str, ...], set[str]]:
    """The project's modules that each `pqm` command of the build loaded."""
    found: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for path in (project.folder / TRACE).glob("*.json"):
        trace = json.loads(path.read_text())
        found[tuple(trace["arguments"])] |= set(trace["modules"])
    return found


def records(project: Project) -> dict[str, dict]:
    return {
        path.relative_to(project.folder).as_posix(): json.loads(path.read_text())
        for folder in ("data/tiny", "results/tiny")
        for path in (project.folder / folder).rglob("*.record.json")
    }


def test_a_record_names_every_module_that_its_job_loaded(snakemake_project: Project) -> None:
    loaded = loaded_by_command(snakemake_project)
    compared = 0
    for path, record in records(snakemake_project).items():
        modules = loaded[tuple(record["command"][1:])]
        assert modules, f"{path}: no trace of {record['command']}"
        packages = {module for module in modules if (ROOT / "src" / module.replace(".", "/")).is_dir()}
        left_out = {module for module in modules if is_left_out(module)}
        unnamed = {module for module in modules - packages - left_out if file_of(module) not in record["inputs"]}
        unnamed -= imported_by(left_out - packages)  # no code of the job itself imports these
        if record["command"][1] == "paper":
            # The losses of all runs are loaded for their labels. A result names those of the runs that it shows.
            unnamed = {module for module in unnamed if not module.startswith("pqm.losses.")}
        assert not unnamed, f"{path}: its job loaded {sorted(unnamed)}"
        compared += 1
    assert compared > 50


def test_what_is_left_out_exists() -> None:
    packages = {module.rsplit(".", 1)[0] for module in MODULES}
    assert set(NOT_IN_RESULTS) <= set(MODULES) | packages


def expected(project: Project, module: str) -> set[str]:
    """The outputs with a module in their records, and all outputs that depend on them."""
    known = records(project)
    stale = {output for record in known.values() if file_of(module) in record["inputs"] for output in record["outputs"]}
    while True:
        more = {output for record in known.values() if stale & set(record["inputs"]) for output in record["outputs"]}
        if more <= stale:
            return stale
        stale |= more


SAMPLE = ["pqm.losses.theorem", "pqm.paper.tables.main", "pqm.io.formats"]


@pytest.mark.parametrize("module", MODULES if "PQM_LONG" in os.environ else SAMPLE)
def test_an_edited_module_reruns_what_runs_through_it(module: str, snakemake_project: Project) -> None:
    with snakemake_project.edited(file_of(module), end="\n# edited\n"):
        planned = {output for _, outputs in snakemake_project.planned() for output in outputs}
    planned = {output for output in planned if not output.endswith(".record.json")}
    assert planned == expected(snakemake_project, module)


def test_a_loss_that_no_run_uses_reruns_nothing(snakemake_project: Project) -> None:
    assert not expected(snakemake_project, "pqm.losses.theorem")


def test_empty_packages() -> None:
    """Importing one module must import no other."""
    for path in (ROOT / "src/pqm").rglob("__init__.py"):
        if path.parent.name != "pqm":
            assert path.read_text() == "", path
    assert Path(ROOT / "src/pqm/__init__.py").read_text().count("import") == 0
