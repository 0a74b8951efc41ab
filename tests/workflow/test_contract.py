"""Snakemake and DVC say the same: stages, what they read, what they write."""

import re
from pathlib import Path, PurePosixPath

import yaml
from dvc.repo import Repo

from .conftest import ROOT, RUNS, Project

STAGE_FILES = sorted(path.stem for path in (ROOT / "workflow/rules").glob("*.smk") if path.stem != "common")


def rule_file(command: str) -> str:
    return re.search(r"-s workflow/rules/(\w+)\.smk", command)[1]


def test_stages_are_rule_files_are_verbs() -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    assert sorted({rule_file(stage["cmd"]) for stage in stages.values()}) == STAGE_FILES
    assert set(stages) - {"references"} == set(STAGE_FILES)
    from pqm.cli import app

    verbs = {command.name or command.callback.__name__ for command in app.registered_commands}
    verbs |= {group.name for group in app.registered_groups}
    assert verbs == set(STAGE_FILES)
    assert all((ROOT / "src/pqm" / stage).is_dir() for stage in STAGE_FILES)


def test_the_snakefile_is_short_and_includes_every_rule_file() -> None:
    lines = (ROOT / "Snakefile").read_text().splitlines()
    assert len(lines) <= 40
    assert {re.search(r"(\w+)\.smk", line)[1] for line in lines if line.startswith("include")} == {*STAGE_FILES, "common"}


def test_nothing_persists() -> None:
    assert "persist" not in (ROOT / "dvc.yaml").read_text()


def test_dvc_knows_every_run() -> None:
    runs = yaml.safe_load((ROOT / "config/runs.yaml").read_text())["runs"]
    assert sorted(runs) == sorted(path.stem for path in (ROOT / "config/demo/runs").glob("*.yaml"))


def test_dvc_lists_every_table_and_figure() -> None:
    paper = yaml.safe_load((ROOT / "config/demo/paper.yaml").read_text())
    listed = {
        out if isinstance(out, str) else next(iter(out))
        for out in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["paper"]["outs"]
    }
    tables = {f"results/tables/{name}.{form}" for name in paper["tables"] for form in ("csv", "md", "tex")}
    figures = {f"results/figures/{name}.{form}" for name in paper["figures"] for form in ("svg", "png", "pdf", "csv")}
    assert listed == tables | figures | {"results/tables/main.json", "results/report.html", "results/benchmarks/paper"}


def below(path: str, roots: set[str]) -> bool:
    return any(PurePosixPath(path).is_relative_to(root) for root in roots)


def test_each_stage_reads_its_deps_and_writes_its_outs(dvc_project: Project) -> None:
    stages: dict[str, dict[str, set[str]]] = {}
    with Repo(str(dvc_project.folder)) as repo:
        for stage in repo.index.stages:
            key = stage.cmd.removeprefix("snakemake ")
            relative = lambda items: {Path(item.fs_path).relative_to(dvc_project.folder).as_posix() for item in items}  # noqa: E731
            stages[key] = {"deps": relative(stage.deps), "outs": relative(stage.outs)}
    every_out = {out for stage in stages.values() for out in stage["outs"]}
    for command, stage in stages.items():
        text = dvc_project.run("snakemake", "-n", "--forceall", *command.split())
        inputs = {path for line in re.findall(r"^    input: (.*)$", text, flags=re.M) for path in line.split(", ")}
        made = {path for line in re.findall(r"^    output: (.*)$", text, flags=re.M) for path in line.split(", ")}
        records = set(re.findall(r"^    benchmark: (.*)$", text, flags=re.M))
        external = inputs - made - records
        unnamed = {path for path in external if not below(path, stage["deps"])}
        assert not unnamed, f"{command}: reads {sorted(unnamed)}, which dvc.yaml does not name as deps"
        unkept = {path for path in made if not below(path, stage["outs"] | stage["deps"])}
        assert not unkept, f"{command}: writes {sorted(unkept)}, which dvc.yaml does not name as outs"
        unkept = {path for path in records if not below(path, every_out)}
        assert not unkept, f"{command}: records {sorted(unkept)}, which no stage of dvc.yaml names as outs"
        idle = {out for out in stage["outs"] if not any(below(path, {out}) for path in made | records)}
        assert not idle, f"{command}: dvc.yaml names {sorted(idle)} as outs, which no rule makes"
        assert f"workflow/rules/{rule_file(command)}.smk" in stage["deps"]
    assert sum("--config run=" in command for command in stages) == 2 * len(RUNS)
