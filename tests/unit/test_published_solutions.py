"""Tables of published solutions."""

import json

import pandas as pd
import pytest

from pqm.io import formats
from pqm.paper.results import Results
from pqm.paper.table import make_table


@pytest.fixture(params=["same order", "other order"])
def judged(request, tmp_path, write_study):
    """Build a table of two models' published solutions of three questions with the gold answer 5.

    The file of solutions has the order of the questions, or another one.
    """
    answers = {"a": ["5", "50", "5 apples"], "b": ["500", "6", "5"]}
    records = [{"question": str(number)} for number in range(3)]
    for model, stated in answers.items():
        for number, answer in enumerate(stated):
            records[number][model] = {"solution": "", "is_correct": answer == "5"}
        rows = [
            {
                "question_id": f"gsm8k-0000{number}",
                "cluster": "c",
                "sample_id": 0,
                "answer": answer,
                "correct": answer[0] == "5" and len(answer) != 2 and answer != "500",
                "grader": "math-verify",
                "second_correct": answer[0] == "5" and len(answer) != 2,
                "first_error": None,
            }
            for number, answer in enumerate(stated)
        ]
        table = pd.DataFrame(rows).astype({"first_error": "Int64"})
        formats.write(table, formats.GRADES, tmp_path / f"results/grades/{model}/gsm8k.parquet")
    if request.param == "other order":
        records = [records[1], records[2], records[0]]
    (tmp_path / "solutions.jsonl").write_text("\n".join(map(json.dumps, records)))
    questions = [
        {
            "question_id": f"gsm8k-0000{number}",
            "question": str(number),
            "answer": "5",
            "solution": [],
            "cluster": "c",
            "perturbation": "",
        }
        for number in range(3)
    ]
    formats.write(pd.DataFrame(questions), formats.QUESTIONS, tmp_path / "data/questions/gsm8k.parquet")
    source = {"kind": "file", "format": "gsm8k", "path": str(tmp_path / "solutions.jsonl")}
    solutions = {"gsm8k": {"source": source, "dataset": "gsm8k", "models": list(answers)}}
    tables = {"published_solutions": [], "published_disagreements": []}
    results = Results(write_study(solutions=solutions, results={"tables": tables}), tmp_path / "data", tmp_path / "results")

    def make(name):
        make_table(name, results, tmp_path / "tables")
        assert (tmp_path / f"tables/{name}.md").read_text().startswith("|")
        return pd.read_csv(tmp_path / f"tables/{name}.csv")

    return make


def test_disagreements_show_who_is_right(judged):
    found = judged("published_disagreements")
    assert found[["question_id", "model", "who is right"]].to_numpy().tolist() == [
        ["gsm8k-00000", "b", "math-verify, publishers"],
        ["gsm8k-00002", "a", "undecided"],
    ]


def test_published_solutions_are_judged_and_their_grades_compared(judged, capsys):
    found = judged("published_solutions")
    accuracies = {(row.models, row.method, row.n): row.accuracy for row in found.itertuples()}
    votes = [accuracies.pop(("all", "self-consistency", n)) for n in (1, 2)]
    assert accuracies == pytest.approx(
        {
            ("a", "pass@1", 1): 2 / 3,
            ("b", "pass@1", 1): 1 / 3,
            ("all", "pass@n", 1): 1 / 2,
            ("all", "pass@n", 2): 2 / 3,
            ("all", "agreement with is_correct", 1): 5 / 6,
            ("all", "second grader's agreement with is_correct", 1): 4 / 6,
        },
        abs=1e-4,
    )
    assert votes == pytest.approx(
        [1 / 2, 1 / 2], abs=0.05
    )  # with n = 1 one of the two is drawn; two different answers are a tie, broken at random
    assert "agreement with is_correct: 5 of 6 grades (83.33 %)" in capsys.readouterr().err
