"""Names of studies and paths of files with spaces and apostrophes, in the shell commands of every rule."""

import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pqm.workflow.dvc_stages import dvc_text

from .conftest import ROOT, Project, copy_project

NAME = "it's my study"
FILE = "model's own solutions.jsonl"
ACCELERATE = "config/accelerate/two processes.yaml"
SOURCE = {"kind": "file", "format": "gsm8k", "path": FILE}
ROW = '{"question": "1 + 1?", "answer": "2\\n#### 2", "a b": {"solution": "#### 2", "is_correct": true}}\n'


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of the project in a folder with a space, with a study of many kinds of items; nothing is built."""
    made = copy_project(tmp_path_factory.mktemp("quoting") / "my own's pqm")
    yaml = YAML(typ="safe", pure=True)
    content = yaml.load(made.folder / "config/tiny/study.yaml")
    content["questions"]["published"] = {"source": SOURCE}
    content["solutions"] = {"published": {"source": SOURCE, "dataset": "published", "models": ["a b"]}}
    content["annotated"] = {"processbench": {"source": SOURCE | {"format": "processbench"}}}
    content["labels"]["published"] = {"source": SOURCE | {"format": "stepwise"}}
    content["evaluation"]["annotated"] = ["processbench"]
    content["training"]["accelerate"] = ACCELERATE
    (made.folder / "config/accelerate/cpu.yaml").rename(made.folder / ACCELERATE)
    (made.folder / "config" / NAME).mkdir()
    yaml.dump(content, made.folder / "config" / NAME / "study.yaml")
    (made.folder / "data/published").mkdir(parents=True, exist_ok=True)
    (made.folder / "data/published" / FILE).write_text(ROW)
    return made


def test_every_value_in_a_shell_command_is_quoted() -> None:
    code = "".join(file.read_text() for file in (ROOT / "workflow/rules").glob("*.smk"))
    values = re.findall(r"\{(?:input|output|params|wildcards|log|resources|threads)\b[^{}]*\}", code)
    assert len(values) > 90 and {value for value in values if not value.endswith(":q}")} == set()


def test_the_commands_of_all_rules_keep_names_and_paths_whole(project: Project) -> None:
    text = project.run("snakemake", "-n", "-p", "--config", f"study={NAME}", "--", "all", f"data/{NAME}/labels/published.parquet")
    commands = re.findall(r"^Shell command: (.*)$", text, flags=re.M)
    words = [shlex.split(command) for command in commands]  # fails for a quote without an end
    assert len(words) > 30
    parts = [
        (f"data/{NAME}/questions/published.parquet", "--questions"),
        (f"data/published/{FILE}", "published"),
        (f"results/{NAME}/tables/main.csv", "headline"),
        (f"results/{NAME}/figures", "--output"),
        (f".work/{NAME}/study.json", "--study"),
        (f"logs/{NAME}/questions/published.log", ">"),
        (ACCELERATE, "--config_file"),
        ("a b", "--model"),
    ]
    for part, before in parts:
        assert any(before == first and part == second for one in words for first, second in pairwise(one)), part
    pieces = {"my", "study", "own", "solutions.jsonl", "processes.yaml"}
    for one in words:
        assert not pieces & set(one) and not [word for word in one if word.startswith("my ") or word.endswith("it's")]


def test_published_data_is_built_and_up_to_date(project: Project) -> None:
    target = f"data/{NAME}/rollouts/a b/published.parquet"
    output = project.run("snakemake", "--cores", "1", "--config", f"study={NAME}", "--", target)
    assert (project.folder / target).exists(), output
    assert "Nothing to be done" in project.run("snakemake", "-n", "--config", f"study={NAME}", "--", target)


def test_the_commands_of_dvc_keep_the_name_whole(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    from pqm.study.reading import load_study

    monkeypatch.chdir(project.folder)
    text = dvc_text(load_study(Path("config") / NAME / "study.yaml"), NAME)
    for stage in YAML(typ="safe").load(text)["stages"].values():
        run, check = map(shlex.split, stage["cmd"])
        assert run[3:5] == ["--config", f"study={NAME}"] and check[4] == NAME
