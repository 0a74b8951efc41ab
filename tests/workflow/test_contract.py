"""Snakemake and DVC agree on the stages, their inputs and their outputs."""

import re
from pathlib import Path, PurePosixPath

import pytest
from dvc.repo import Repo
from ruamel.yaml import YAML

from .conftest import ROOT, Project, copy_project

STAGE_FILES = sorted(path.stem for path in (ROOT / "workflow/rules").glob("*.smk") if path.stem != "common")
STUDIES = ["tiny", "demo", "gpu", "paper", "quick", "qwen"]


def stages(study: str) -> dict[str, dict]:
    return YAML(typ="safe").load(ROOT / f"config/{study}/dvc.yaml")["stages"]


@pytest.mark.parametrize("study", STUDIES)
def test_stages_are_rule_files(study: str) -> None:
    assert sorted(stages(study)) == STAGE_FILES
    assert all(f"workflow/rules/{name}.smk" in stage["deps"] for name, stage in stages(study).items())


def test_rule_files_are_verbs_and_modules() -> None:
    from pqm.cli.__main__ import app

    verbs = {command.name or command.callback.__name__ for command in app.registered_commands}
    verbs |= {group.name for group in app.registered_groups}
    assert verbs - {"study", "provenance", "learning_rate"} == set(STAGE_FILES)  # learning-rate belongs to train
    assert all((ROOT / "src/pqm" / stage).is_dir() for stage in STAGE_FILES)


def test_the_snakefile_is_short_and_includes_every_rule_file() -> None:
    lines = (ROOT / "Snakefile").read_text().splitlines()
    assert len(lines) <= 40
    assert {re.search(r"(\w+)\.smk", line)[1] for line in lines if line.startswith("include")} == {*STAGE_FILES, "common"}


def test_the_study_is_read_once_although_every_rule_file_includes_it(tmp_path: Path) -> None:
    output = copy_project(tmp_path).run("snakemake", "-n", "--quiet", "host", "--config", "study=tiny")
    assert output.count("params.yaml is extended") == 1


@pytest.mark.parametrize("study", STUDIES)
def test_a_stage_that_persists_is_checked(study: str) -> None:
    for name, stage in stages(study).items():
        assert all(next(iter(out.values()))["persist"] for out in stage["outs"])
        assert stage["cmd"][-1] == f"python -m pqm.provenance check {study} {name}"


def below(path: str, roots: set[str]) -> bool:
    return any(PurePosixPath(path).is_relative_to(root) for root in roots)


def of_stage(project: Project, command: str) -> tuple[set[str], set[str], set[str]]:
    """The inputs of a stage's rules from other stages, their outputs, and their timing files."""
    text = project.run("snakemake", "-n", "--forceall", *command.removeprefix("snakemake ").split())
    inputs = {path for line in re.findall(r"^    input: (.*)$", text, flags=re.M) for path in line.split(", ")}
    made = {path for line in re.findall(r"^    output: (.*)$", text, flags=re.M) for path in line.split(", ")}
    return inputs - made, made, set(re.findall(r"^    benchmark: (.*)$", text, flags=re.M))


def test_each_stage_reads_its_deps_and_writes_its_outs(dvc_project: Project) -> None:
    with Repo(str(dvc_project.folder)) as repo:
        found = [stage for stage in repo.index.stages if Path(stage.path).parent.name == "tiny"]

        def relative(items: list) -> set[str]:
            return {Path(item.fs_path).relative_to(dvc_project.folder).as_posix() for item in items if item.fs_path}

        known = {stage.cmd[0]: (relative(stage.deps), relative(stage.outs)) for stage in found}
    assert len(known) == len(STAGE_FILES)
    every_out = set().union(*(outs for _, outs in known.values()))
    for command, (deps, outs) in known.items():
        read, made, timing = of_stage(dvc_project, command)
        unnamed = {path for path in read if not below(path, deps)}
        assert not unnamed, f"{command}: reads {sorted(unnamed)}, which dvc.yaml does not name as deps"
        unkept = {path for path in made if not below(path, outs)}
        assert not unkept, f"{command}: writes {sorted(unkept)}, which dvc.yaml does not name as outs"
        assert timing and not [path for path in timing if below(path, every_out)], "timing files are outs of no stage"
        assert not [path for path in read if path.endswith(".tsv")], "timing files are inputs of no rule"
        idle = {out for out in outs if not any(below(path, {out}) for path in made)}
        assert not idle, f"{command}: dvc.yaml names {sorted(idle)} as outs, which no rule makes"


def test_published_data_has_a_stage_per_item() -> None:
    known = stages("published")
    assert {"questions-gsm8k", "questions-math500", "annotated-champ", "rollouts-gsm8k", "evaluate-gsm8k", "paper"} <= set(known)
    read = {
        name: [dep for dep in stage["deps"] if dep.startswith("data/published/") and dep.endswith(".jsonl")]
        for name, stage in known.items()
    }
    assert read["questions-math500"] == ["data/published/math500/test.jsonl"]
    assert read["annotated-champ"] == []
