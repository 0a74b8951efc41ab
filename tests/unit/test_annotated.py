"""Readers of published step annotations, on fixtures in the publishers' formats."""

import json

import pytest

from pqm.errors import PqmError
from pqm.io import formats
from pqm.rollouts.annotated import write_annotated
from pqm.study.rollouts import AnnotatedConfig

PROCESSBENCH = [
    {"id": "gsm8k-0", "generator": "A", "problem": "1 + 1 ?", "steps": ["one", "two", "three"], "final_answer_correct": False, "label": 1},
    {"id": "gsm8k-1", "generator": "B", "problem": "1 + 1 ?", "steps": ["one", "two"], "final_answer_correct": True, "label": -1},
    {"id": "gsm8k-2", "generator": "A", "problem": "2 + 2 ?", "steps": ["four"], "final_answer_correct": True, "label": -1},
]  # fmt: skip
TEXT = "First, we add.\n\nThen we err here.\n\n\nSo it is 4."
CHAMP = {
    "problems": {
        "P_1": {
            "_text": "What is 2 + 1?",
            "_answer": "3",
            "fws_annotations": {
                "GPT-4|No C w/o H": {
                    "text": TEXT,
                    "start_idx": TEXT.index("err"),
                    "end_idx": TEXT.index("here"),
                    "author": "GPT-4",
                },
                "GPT-3.5|No C w/o H": {
                    "text": "All is well.\n\nIt is 3.",
                    "start_idx": None,
                    "end_idx": None,
                    "author": "GPT-3.5",
                },
                "PaLM|No C w/o H": {"text": TEXT, "start_idx": 0, "end_idx": 5, "author": "PaLM"},
            },
        },
        "P_2": {"_text": "And 2 + 2?", "_answer": "4", "fws_annotations": None},
    }
}


def local(form, file):
    return AnnotatedConfig(source={"kind": "file", "format": form, "path": str(file)})


@pytest.fixture
def read(tmp_path):
    def run(form, content, lines=False):
        file = tmp_path / "published.json"
        file.write_text("\n".join(map(json.dumps, content)) if lines else json.dumps(content))
        write_annotated(local(form, file), tmp_path, tmp_path / "out")
        parts = (("questions", formats.QUESTIONS), ("rollouts", formats.ROLLOUTS), ("grades", formats.GRADES))
        return [formats.read(tmp_path / "out" / f"{name}.parquet", form) for name, form in parts]

    return run


@pytest.mark.parametrize("lines", [False, True], ids=["list", "lines"])
def test_processbench(read, lines):
    questions, rollouts, grades = read("processbench", PROCESSBENCH, lines)
    assert questions["question"].tolist() == ["1 + 1 ?", "2 + 2 ?"]
    assert [list(steps) for steps in rollouts["steps"]] == [row["steps"] for row in PROCESSBENCH]
    assert rollouts["sample_id"].tolist() == [0, 1, 0]
    assert grades["first_error"].tolist() == [1, -1, -1]
    assert grades["correct"].tolist() == [False, True, True]
    assert set(rollouts["question_id"]) == set(questions["question_id"])


def test_the_first_error_of_champ_is_the_paragraph_in_which_the_span_begins(read):
    questions, rollouts, grades = read("champ", CHAMP)
    assert questions["question_id"].tolist() == ["P_1"] and questions["answer"].tolist() == ["3"]
    assert list(rollouts["steps"].iloc[0]) == ["First, we add.", "Then we err here.", "So it is 4."]
    assert grades["first_error"].tolist() == [1, -1, 0]


@pytest.mark.parametrize("key", ["steps", "label", "problem", "generator", "final_answer_correct"])
def test_processbench_without_a_key(read, key):
    with pytest.raises(PqmError, match=f"row 1: key '{key}'"):
        read("processbench", [PROCESSBENCH[0], {name: value for name, value in PROCESSBENCH[1].items() if name != key}])


@pytest.mark.parametrize(
    ("change", "words"), [({"label": 3}, "3 steps"), ({"label": -2}, "-1 or more"), ({"steps": "one"}, "list of steps")]
)
def test_processbench_with_an_impossible_label(read, change, words):
    with pytest.raises(PqmError, match=words):
        read("processbench", [PROCESSBENCH[0] | change])


@pytest.mark.parametrize("form", ["processbench", "champ"])
def test_a_missing_file_is_reported(form, tmp_path):
    with pytest.raises(PqmError, match="missing"):
        write_annotated(local(form, tmp_path / "nowhere.json"), tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_content_that_is_not_champ_is_refused(read):
    with pytest.raises(PqmError, match="not CHAMP"):
        read("champ", [{"problems": [1, 2]}])
    with pytest.raises(PqmError, match="row 0: expected a JSON object"):
        read("champ", [1, 2])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"steps": ["one", 2]}, "list of steps"),
        ({"steps": [], "label": -1}, "list of steps"),
        ({"problem": None}, "list of steps"),
        ({"problem": " "}, "list of steps"),
        ({"label": "1"}, "'1'"),
        ({"label": True}, "True"),
        ({"final_answer_correct": "no"}, "final_answer_correct: expected true or false, found 'no'"),
        ({"final_answer_correct": 0}, "final_answer_correct: expected true or false, found 0"),
        ({"final_answer_correct": None}, "final_answer_correct: expected true or false, found None"),
    ],
)
def test_processbench_of_other_types_is_refused(read, change, words):
    with pytest.raises(PqmError, match=words):
        read("processbench", [PROCESSBENCH[0] | change])


@pytest.mark.parametrize(
    "annotations",
    [
        {"A": {"start_idx": 0}},
        {"A": {"text": " ", "start_idx": None}},
        {"A": "text"},
        "annotations",
        {"A": {"text": ["a"], "start_idx": None}},
        {"A": {"text": "abc", "start_idx": 3}},
        {"A": {"text": "abc", "start_idx": -1}},
        {"A": {"text": "abc", "start_idx": "1"}},
    ],
    ids=["key", "text", "type", "annotations", "list", "beyond", "before", "no number"],
)
def test_malformed_champ_is_refused(read, annotations):
    problem = {"_text": "What?", "_answer": "1", "fws_annotations": annotations}
    with pytest.raises(PqmError, match="problem 'P_1'"):
        read("champ", {"problems": {"P_1": problem}})


def test_verdicts_may_be_words(read):
    words = ["True", "false", "FALSE", "true"]
    rows = [PROCESSBENCH[2] | {"problem": word, "final_answer_correct": word} for word in words]
    assert read("processbench", rows)[2]["correct"].tolist() == [True, False, False, True]


@pytest.mark.parametrize(("answer", "gold"), [(["3"], "3"), (3, "3"), (None, "unknown"), ("", "unknown")])
def test_the_gold_answer_of_a_problem_of_champ(answer, gold, read):
    problem = CHAMP["problems"]["P_1"] | {"_answer": answer}
    assert read("champ", {"problems": {"P_1": problem}})[0]["answer"].tolist() == [gold]


@pytest.mark.parametrize("answer", [["3", "4"], {"value": 3}, True, []])
def test_a_gold_answer_that_is_not_one_value_is_refused(answer, read):
    problem = CHAMP["problems"]["P_1"] | {"_answer": answer}
    with pytest.raises(PqmError, match="problem 'P_1', _answer: expected one gold answer"):
        read("champ", {"problems": {"P_1": problem}})


def test_champ_of_the_package(tmp_path):
    source = {"kind": "package", "package": "champ_dataset", "file": "dataset_files/v0.json", "format": "champ"}
    write_annotated(AnnotatedConfig(source=source), tmp_path, tmp_path / "out")
    questions, grades = (
        formats.read(tmp_path / "out" / f"{form.name}.parquet", form) for form in (formats.QUESTIONS, formats.GRADES)
    )
    assert len(questions) == 270 and len(grades) == 540
    assert (grades["first_error"] >= 0).sum() == 444


def test_by_the_study(settings, run_cli, tmp_path):
    (tmp_path / "published.json").write_text(json.dumps(PROCESSBENCH))
    source = {"kind": "file", "format": "processbench", "path": "published.json"}
    verb = ["rollouts", "annotated", settings("annotated", source=source), "--output", tmp_path / "out"]
    assert run_cli(*verb, "--published", tmp_path) == (0, "")
    assert formats.read(tmp_path / "out/grades.parquet", formats.GRADES)["first_error"].tolist() == [1, -1, -1]
    code, told = run_cli(*verb, "--published", tmp_path / "nowhere")
    assert code == 1
    assert told == (f"pqm: {tmp_path}/nowhere/published.json is missing; get it from huggingface.co/datasets/Qwen/ProcessBench\n")


# ---------------------------------------------------------------- injected errors


def injected(tmp_path, taken=(), **changes):
    source = {
        "kind": "gsm-symbolic", "questions": 60, "templates": (0, 20), "injected_error_share": 0.5, "injected_error_chance": 0.4,
        "seed": 1,
    } | changes  # fmt: skip
    write_annotated(AnnotatedConfig(source=source), tmp_path, tmp_path / "known", taken)
    parts = (("questions", formats.QUESTIONS), ("rollouts", formats.ROLLOUTS), ("grades", formats.GRADES))
    return [formats.read(tmp_path / "known" / f"{name}.parquet", form) for name, form in parts]


def test_injected_errors_are_where_the_grades_say(tmp_path):
    wrong, right = injected(tmp_path), injected(tmp_path, injected_error_share=0.0)
    assert wrong[0].equals(right[0]), "errors change no question"
    assert right[2]["first_error"].eq(formats.NO_ERROR).all() and right[2]["correct"].all()
    errors = wrong[2]["first_error"]
    assert 0.2 < errors.ne(formats.NO_ERROR).mean() < 0.6 and errors.nunique() > 2
    for steps, worked, error in zip(wrong[1]["steps"], right[1]["steps"], errors):
        same = [one == other for one, other in zip(steps, worked)]
        assert len(steps) == len(worked)
        assert same.index(False) == error if error != formats.NO_ERROR else all(same)
    assert not wrong[2].loc[errors.ne(formats.NO_ERROR), "correct"].all()
    assert wrong[2].loc[errors.eq(formats.NO_ERROR), "correct"].all()


def test_solutions_with_injected_errors_avoid_other_questions(tmp_path):
    first = injected(tmp_path)[0]
    formats.write(first.head(40), formats.QUESTIONS, tmp_path / "taken.parquet")
    again = injected(tmp_path, [tmp_path / "taken.parquet"])[0]
    assert len(again) == 60 and not set(again["question"]) & set(first["question"].head(40))


def test_published_solutions_cannot_avoid_questions():
    with pytest.raises(ValueError, match="disjoint_from is for generated solutions only"):
        AnnotatedConfig(source={"kind": "file", "format": "champ", "path": "a.json"}, disjoint_from=("test",))
