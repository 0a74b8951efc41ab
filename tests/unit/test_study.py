"""Missing and generated files of a study, and the verbs of `pqm study`."""

import json
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from small import read_yaml, write_yaml
from studies import ROOT, STUDIES, each_study, tiny_study

from pqm.study.faults import Fault
from pqm.study.reading import load_study
from pqm.workflow.checks import missing_files
from pqm.workflow.dvc_stages import dvc_text
from pqm.workflow.study_files import reference_text, schema_text


def found(study: list[Fault]) -> list[tuple[str, str]]:
    return [(".".join(map(str, fault.place)), fault.what) for fault in study]


# ---------------------------------------------------------------- missing files


@pytest.fixture
def published(tmp_path, monkeypatch):
    """The study of published data in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return load_study(ROOT / "config/published/study.yaml")


def test_missing_published_files_are_reported_with_where_to_get_them(published):
    expected = [
        ("questions.gsm-plus.source", "gsm-plus/testmini.jsonl", "huggingface.co/datasets/qintongli/GSM-Plus"),
        ("questions.gsm8k.source", "gsm8k/test.jsonl", "github.com/openai/grade-school-math (grade_school_math/data)"),
        ("questions.math500.source", "math500/test.jsonl", "huggingface.co/datasets/HuggingFaceH4/MATH-500"),
        (
            "solutions.gsm8k.source",
            "gsm8k/example_model_solutions.jsonl",
            "github.com/openai/grade-school-math (grade_school_math/data)",
        ),
    ]
    told = [(place, f"data/published/{file} is missing; get it from {source}") for place, file, source in expected]
    assert found(missing_files(published)) == told
    for _, file, _ in expected:
        Path("data/published", file).parent.mkdir(parents=True, exist_ok=True)
        Path("data/published", file).touch()
    assert missing_files(published) == []


def test_files_of_users_own_and_packages_that_are_missing(tmp_path, write_study):
    package = {"kind": "package", "package": "no_such_package", "file": "a.json", "format": "champ"}
    gguf = {"gguf": {"package": "no_other_package", "file": "a.gguf"}, "format": {}}
    own = {"kind": "file", "format": "stepwise", "path": str(tmp_path / "own.jsonl")}
    study = load_study(
        write_study(
            annotated={"champ": {"source": package}, "there": {"source": package | {"package": "pqm"}}},
            labels={"own": {"source": own}},
            policies={"small": gguf},
            backbones={"small": gguf, "picked": {"pick": {"pretraining": "p"}}},
        )
    )
    assert found(missing_files(study)) == [
        ("annotated.champ.source", "package no_such_package is not installed"),
        ("labels.own.source", f"{tmp_path / 'own.jsonl'} is missing; get it from its publisher; the path is set in the study"),
        ("policies.small.gguf", "package no_other_package is not installed"),
        ("backbones.small.gguf", "package no_other_package is not installed"),
    ]


# ---------------------------------------------------------------- pqm study


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with only the tiny study."""
    monkeypatch.chdir(tmp_path)
    Path("config/tiny").mkdir(parents=True)
    shutil.copy(ROOT / "config/tiny/study.yaml", "config/tiny/study.yaml")


def test_a_new_study_is_a_copy_with_its_own_stages(project, run_pqm):
    code, said, error = run_pqm("study", "new", "mine-2")
    assert (code, said, error) == (0, "config/mine-2/study.yaml: edit it, then: pqm study check mine-2\n", "")
    assert Path("config/mine-2/study.yaml").read_bytes() == Path("config/tiny/study.yaml").read_bytes()
    stages = Path("config/mine-2/dvc.yaml").read_text()
    assert stages == dvc_text(load_study(Path("config/mine-2/study.yaml")), "mine-2")
    assert "data/mine-2/questions" in stages and "tiny" not in stages
    assert run_pqm("study", "check", "mine-2") == (0, "study mine-2: no faults found\n", "")
    assert run_pqm("study", "new", "third", "--from", "mine-2")[0] == 0
    assert sorted(path.name for path in Path("config").iterdir()) == ["mine-2", "third", "tiny"]


@pytest.mark.parametrize("name", ["a b", "../mine", "a/b", ".hidden", "", "a.b", "tables", "figures", "accelerate"])
def test_a_name_that_no_study_can_have_is_refused(name, project, run_cli):
    code, told = run_cli("study", "new", "--", name)
    assert code == 1
    assert told == (
        f"pqm: {name!r} is not a valid study name; expected letters, digits, - and _, and none of accelerate, figures, tables\n"
    )
    assert [path.name for path in Path("config").iterdir()] == ["tiny"]


def test_an_existing_study_is_not_overwritten(project, run_cli):
    Path("config/mine").mkdir()
    Path("config/mine/study.yaml").write_text("runs: {}\n")
    assert run_cli("study", "new", "mine") == (
        1,
        "pqm: config/mine/study.yaml: the study already exists; expected another name\n",
    )
    assert Path("config/mine/study.yaml").read_text() == "runs: {}\n" and not Path("config/mine/dvc.yaml").exists()


@pytest.mark.parametrize("verb", [("new", "mine", "--from", "demo"), ("check", "demo"), ("dvc", "demo")])
def test_a_missing_study_is_reported_with_the_existing_ones(verb, project, run_cli):
    assert run_cli("study", *verb) == (1, "pqm: config/demo/study.yaml: no such study; known studies: tiny\n")
    assert [path.name for path in Path("config").iterdir()] == ["tiny"]
    shutil.rmtree("config/tiny")
    assert run_cli("study", *verb) == (1, "pqm: config/demo/study.yaml: no such study; known studies: none\n")


def test_check_reports_every_kind_of_fault_with_its_line(project, run_cli):
    run_cli("study", "new", "mine")
    content = tiny_study()
    content["runs"]["bce"]["labels"] = "tran"
    content["annotated"]["processbench"]["source"]["path"] = "nowhere.json"
    content["policies"]["weak"]["pick"]["share"] = 0.51
    path = Path("config/mine/study.yaml")
    write_yaml(path, content)
    lines = path.read_text().splitlines()
    code, told = run_cli("study", "check", "mine")
    assert code == 1
    first, *said = told.removeprefix("pqm: ").splitlines()
    assert first == f"{path}: config/mine/dvc.yaml is not up to date; run `pqm study dvc mine`"
    expected = {
        "runs.bce.labels: labels has no 'tran'; did you mean 'train'?": "labels: tran",
        "annotated.processbench.source: data/published/nowhere.json is missing; "
        "get it from huggingface.co/datasets/Qwen/ProcessBench": "source:",
        "solutions.gsm8k.source: data/published/gsm8k/example_model_solutions.jsonl is missing; "
        "get it from github.com/openai/grade-school-math (grade_school_math/data)": "source:",
        "policies.weak.pick: picks phase-1-step-000120 of language-model, the same as policies.final; "
        "expected another share": "pick:",
    }
    numbers = []
    for line in said:
        _, number, what = line.split(": ", 2)
        numbers.append(int(number.removeprefix("line ")))
        assert lines[numbers[-1] - 1].strip().startswith(expected.pop(what))
    assert expected == {} and numbers == sorted(numbers)


def test_check_of_a_study_that_does_not_load_reports_that(project, run_cli):
    Path("config/tiny/study.yaml").write_text("runs:\n  a: {loss: bce}\n")
    assert run_cli("study", "check", "tiny") == (
        1,
        "pqm: config/tiny/study.yaml: line 2: runs.a: key 'backbone' is missing\n"
        "config/tiny/study.yaml: line 2: runs.a: key 'labels' is missing\n",
    )


def test_dvc_stages_are_written_and_then_up_to_date(project, run_pqm):
    code, _, error = run_pqm("study", "check", "tiny")
    assert code == 1 and error.endswith("config/tiny/dvc.yaml is not up to date; run `pqm study dvc tiny`\n")
    assert run_pqm("study", "dvc", "tiny") == (0, "config/tiny/dvc.yaml\n", "")
    assert run_pqm("study", "check", "tiny")[0] == 0


def test_the_schema_and_the_reference_are_written(project, run_pqm):
    Path("docs").mkdir()
    assert run_pqm("study", "schema") == (0, "config/study.schema.json\ndocs/settings.md\n", "")
    assert Path("config/study.schema.json").read_text() == schema_text()
    assert Path("docs/settings.md").read_text() == reference_text()


# ---------------------------------------------------------------- generated files


@pytest.mark.parametrize("path", [path for path in STUDIES if "config" in path.parts], ids=lambda path: path.parent.name)
def test_dvc_stages_are_up_to_date(path):
    name = path.parent.name
    assert path.with_name("dvc.yaml").read_text() == dvc_text(load_study(path), name), f"run `pqm study dvc {name}`"


def test_schema_and_reference_are_up_to_date():
    for path, text in (("config/study.schema.json", schema_text()), ("docs/settings.md", reference_text())):
        assert (ROOT / path).read_text() == text, "run `pqm study schema`"


def test_the_reference_has_every_setting():
    def keys(schema: dict[str, Any]) -> set[str]:
        return {key for model in [schema, *schema["$defs"].values()] for key in model.get("properties", {})}

    text = reference_text()
    assert {key for key in keys(json.loads(schema_text())) if f"| `{key}` |" not in text} == set()
    links = {line.partition("(#")[2].partition(")")[0] for line in text.splitlines() if "(#" in line}
    heads = {
        line[3:].lower().replace(" ", "-").replace(",", "").replace(".", "") for line in text.splitlines() if line[:3] == "## "
    }
    assert links <= heads


@pytest.fixture(scope="module")
def schema() -> jsonschema.protocols.Validator:
    content = json.loads((ROOT / "config/study.schema.json").read_text())
    kind = jsonschema.validators.validator_for(content)
    kind.check_schema(content)
    return kind(content)


@each_study
def test_the_schema_accepts_every_study(path, schema):
    assert [error.message for error in schema.iter_errors(read_yaml(path))] == []


@pytest.mark.parametrize(
    ("place", "wrong", "right"),
    [
        ((), "qestions", "questions"),
        (("training",), "sedes", "seeds"),
        (("runs", "bce"), "zetta", "loss"),
        (("questions", "test", "source"), "qestions", "questions"),
        (("pretraining", "language-model", "phases", 0), "curriculm", "curriculum"),
        (("labels", "train"), "complettions", "completions"),
    ],
)
def test_the_schema_refuses_a_misspelled_key(place, wrong, right, schema):
    content = read_yaml(ROOT / "config/demo/study.yaml")
    inner = content
    for part in place:
        inner = inner[part]
    inner[wrong] = inner[right]
    told = [error for each in schema.iter_errors(content) for error in (each, *(each.context or ()))]
    assert any(f"'{wrong}'" in error.message for error in told)


@pytest.mark.parametrize(("key", "value"), [("samples", 0), ("samples", "many"), ("temperature", -1.0), ("seed", None)])
def test_the_schema_refuses_wrong_values(key, value, schema):
    content = read_yaml(ROOT / "config/demo/study.yaml")
    content["rollouts"]["test"][key] = value
    assert list(schema.iter_errors(content)) != []
