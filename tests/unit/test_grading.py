import json
import os
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from math_verify import parse, verify

from pqm import formats
from pqm.evaluate import grade, grading
from pqm.evaluate.grading import LONGEST_ANSWER, Grader, extract_answer
from pqm.evaluate.rules import same_by_rules
from pqm.paper.study import Study
from pqm.paper.tables import make_table

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
MATH500 = DATA / "math500" / "test.jsonl"
GSM8K_SOLUTIONS = DATA / "gsm8k" / "example_model_solutions.jsonl"


@pytest.fixture(scope="module")
def grader():
    with Grader() as one:
        yield one


@pytest.fixture
def is_right(grader):
    return lambda answer, gold: grader([(answer, gold)])[0]


def json_lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


@pytest.mark.parametrize(
    "text, answer",
    [
        (r"so \boxed{5}.", "5"),
        (r"so $\boxed{\frac{1}{2}}$.", r"\frac{1}{2}"),
        (r"\boxed{\left( 3, \frac{\pi}{2} \right)}", r"\left( 3, \frac{\pi}{2} \right)"),
        (r"\boxed{x^{2^{3}} + \sqrt{y}} and more {text}", r"x^{2^{3}} + \sqrt{y}"),
        (r"first \boxed{3}, no: \boxed{4}", "4"),
        (r"\boxed{7} The answer is 8", "7"),
        ("2 + 2 = 4\n#### 4", "4"),
        ("#### 3\n#### 1,000\n", "1,000"),
        ("2 + 2 = 4\nA: 4", "4"),
        ("monday aunt gives 8 , 4 + 8 = 12 , answer 12\n", "12"),
        ("The answer is 5.", "5"),
        ("The answer is: 5", "5"),
        ("Answer: 5", "5"),
        ("The answer is 3.\nThe answer is 4.", "4"),
        ("A: 3.5.", "3.5"),
    ],
)
def test_stated_answer_is_found(text, answer):
    assert extract_answer(text) == answer


@pytest.mark.parametrize("text", ["", "no number is stated", "4 + 8 = 12", "####", r"cut at \boxed{12"])
def test_texts_that_state_no_answer_have_none(text):
    assert extract_answer(text) is None


@pytest.mark.parametrize(
    "answer, gold",
    [
        ("5", "5"),
        ("1,000", "1000"),
        ("1000", "1,000"),
        ("18.0", "18"),
        ("18", "18.00"),
        ("$18", "18"),
        ("0.5", r"\frac{1}{2}"),
        (r"\frac{1}{2}", "0.5"),
        (r"\dfrac{1}{2}", r"\frac{1}{2}"),
        ("3/4", "0.75"),
        (r"\left( 3, \frac{\pi}{2} \right)", r"(3,\frac{\pi}{2})"),
        ("x + 1", "1 + x"),
    ],
)
def test_answers_of_equal_value_are_right(is_right, answer, gold):
    assert is_right(answer, gold)


@pytest.mark.parametrize(
    "answer, gold",
    [
        (None, "5"),
        ("", "5"),
        ("6", "5"),
        ("-5", "5"),
        ("3.14", "3.1"),
        ("50", "5"),
        ("180", "18"),
        ("x + 1", "x - 1"),
        ("5", "None"),
    ],
)
def test_other_answers_are_wrong(is_right, answer, gold):
    assert not is_right(answer, gold)


numbers = st.from_regex(r"-?(?:[0-9]{1,9}|[1-9][0-9]{0,2}(?:,[0-9]{3}){1,2})(?:\.[0-9]{1,6})?", fullmatch=True)


@given(numbers, st.one_of(numbers, st.none()), st.sampled_from(["", "0", ".0", ".000000"]))
@settings(max_examples=60, deadline=None)
def test_plain_numbers_get_math_verifys_verdict_without_it(gold, other, tail):
    answer = other or gold + (tail if "." not in gold or tail == "0" else "")
    expected = verify(parse(f"${gold}$"), parse(f"${answer}$"))
    assert Grader()._without_parser(answer, gold) in (expected, None)


def test_a_story_is_graded_without_pool_and_parser():
    code = """
import sys
from pqm.evaluate.grading import Grader, extract_answer
with Grader() as grader:
    assert grader([("12", "12"), ("12", "13"), ("1,000", "1000"), (None, "5"), ("x+1", "x+1")]) == [True, False, True, False, True]
    assert extract_answer("day 2 : 4 + 8 = 12 , answer 12") == "12"
assert not {"math_verify", "sympy", "torch"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "answer, gold",
    [
        (" 1,000 ", "1000"),
        (r"\text{5}", "{5}"),
        ("0.5", r"\frac{1}{2}"),
        (r"\dfrac12", r"\frac{1}{2}"),
        ("-5/3", r"-\frac{5}{3}"),
        (r"\$18.90", "18.9"),
        ("11,111,111,100", r"11,\! 111,\! 111,\! 100"),
        ("5.4 cm", r"5.4 \text{ cents}"),
        ("864 inches^2", r"864 \mbox{ inches}^2"),
        ("120 degrees", r"120^\circ"),
        ("x = 5", "5"),
        ("5", "x=5"),
        (r"\sqrt{44}", r"2\sqrt{11}"),
        (r"1\frac{4}{5}", "1.8"),
        ("137 1/2", r"137 \frac{1}{2}"),
        (r"(3, \pi/2)", r"\left( 3, \frac{\pi}{2} \right)"),
        ("[-2,7]", r"x \in [-2,7]"),
        ("(0.6, 8/3]", r"\left(\frac{3}{5},\frac{8}{3}\right]"),
        ("-2, 1", "-2,1"),
        (r"3 \text{ and } 5", "3, 5"),
        ("-5i + 6", "6 - 5i"),
        ("(b+2)(a+5)", "(a+5)(b+2)"),
        ("2x^2(x+1)", "2x^3+2x^2"),
        (r"\cos x / \sin x", r"\cot x"),
        ("2.5 million", "2500000"),
        ("EVELYN", r"\text{Evelyn}"),
        ("C", r"\text{(C)}"),
        (r"\begin{pmatrix} 0.2 \\ -3.6 \end{pmatrix}", r"\begin{pmatrix} 1/5 \\ -18/5 \end{pmatrix}"),
        ("52", "52_8"),  # the authors drop the base
        ("50", "0.5"),  # .. take a percentage for its number
        ("10001", "10000"),  # .. and round
    ],
)
def test_the_authors_rules_take_these_for_equal(answer, gold):
    assert same_by_rules(answer, gold)


@pytest.mark.parametrize(
    "answer, gold",
    [
        (None, "5"),
        ("", "5"),
        ("6", "5"),
        ("-5", "5"),
        ("10010", "10000"),
        ("500", "0.5"),
        ("None", "5"),
        ("1/3", r"\frac{1}{2}"),
        ("(1,2)", "(2,1)"),
        ("(1,2]", "[1,2)"),
        ("1,2,3", "1,2"),
        ("(12,102)", "(12102)"),
        ("x+1", "x-1"),
        ("x^2", "2x"),
        ("east", "seat"),
        (r"\sqrt{-1", "i"),
        ("1/0", r"\frac{1}{0}"),
        ("9" * 400, "8" * 400),
        ("9^{9^{9^{9}}}", "9^{9^{9^{8}}}"),
        ("__import__('os').abort()", "5"),
    ],
)
def test_the_authors_rules_take_these_for_different(answer, gold):
    assert not same_by_rules(answer, gold)


def test_cut_samples_are_wrong_whatever_they_say(tmp_path):
    questions = pd.DataFrame(
        [{"question_id": "q", "question": "how many ?", "answer": "5", "solution": ["5"], "cluster": "c", "perturbation": ""}]
    )
    texts = [("answer 5", "stop"), ("answer 5", "length"), ("answer 6", "stop"), ("5 it is", "stop")]
    rollouts = pd.DataFrame(
        [
            {
                "question_id": "q",
                "sample_id": number,
                "text": text,
                "steps": [text],
                "n_tokens": 2,
                "finish_reason": reason,
                "log_likelihood": -1.0,
                "seed": 0,
                "engine": "none",
            }
            for number, (text, reason) in enumerate(texts)
        ]
    )
    formats.write(questions, formats.QUESTIONS, tmp_path / "questions.parquet")
    formats.write(rollouts, formats.ROLLOUTS, tmp_path / "rollouts.parquet")
    grades = grade(tmp_path / "questions.parquet", tmp_path / "rollouts.parquet")
    assert grades["correct"].tolist() == [True, False, False, False]
    assert grades["second_correct"].tolist() == [True, False, False, False]
    assert [answer if isinstance(answer, str) else None for answer in grades["answer"]] == ["5", None, "6", None]
    assert grades["cluster"].tolist() == ["c"] * 4


def dressed(gold):
    """A gold answer with other spaces, brackets and fractions."""
    return (
        r"\left" + gold.replace(" ", "  ").replace(r"\frac", r"\dfrac").replace(")", r"\right)")
        if gold[0] == "("
        else f" {gold} "
    )


@pytest.mark.skipif(not MATH500.exists(), reason="MATH500 is not at hand")
def test_every_math500_solution_is_right_by_both_graders(grader):
    records = json_lines(MATH500)
    pairs = [(extract_answer(one["solution"]), one["answer"]) for one in records]
    pairs += [(dressed(answer), answer) for answer in {one["answer"] for one in records}]
    assert len(records) == 500
    assert [pair for pair, right in zip(pairs, grader(pairs)) if not right] == []
    assert [pair for pair in pairs if not same_by_rules(*pair)] == []
    assert grader.report() is None


@pytest.mark.skipif(not MATH500.exists(), reason="MATH500 is not at hand")
def test_solutions_do_not_answer_the_next_math500_question(grader):
    records = json_lines(MATH500)
    pairs = [
        (extract_answer(one["solution"]), other["answer"]) for one, other in pairwise(records) if one["answer"] != other["answer"]
    ]
    assert len(pairs) > 480
    some = [("5", "x=5"), *pairs[::4]]
    assert {pair for pair, right in zip(some, grader(some)) if right} == {("5", "x=5")}
    assert {pair for pair in pairs if same_by_rules(*pair)} == {("5", "x=5"), ("200", "2")}


@pytest.mark.skipif(not GSM8K_SOLUTIONS.exists(), reason="GSM8K is not at hand")
def test_grades_of_gsm8k_solutions_agree_with_the_publishers(grader):
    pairs, published = [], []
    for record in json_lines(GSM8K_SOLUTIONS):
        gold = record["ground_truth"].rsplit("A:", 1)[1].strip()
        solutions = [one for one in record.values() if isinstance(one, dict)]
        pairs += [(extract_answer(one["solution"]), gold) for one in solutions]
        published += [one["is_correct"] for one in solutions]
    assert len(pairs) == 5276
    assert grader(pairs) == published
    lenient = [pair for pair, right in zip(pairs, published) if same_by_rules(*pair) != right]
    assert len(lenient) == 15  # every one by the authors' leave to be off by a factor of 100 or by 1 in 10,000
    assert all(float(answer.replace(",", "")) / float(gold) in (100, 0.01, 1.00005) for answer, gold in lenient)


@pytest.fixture
def judged(tmp_path, write_study):
    """Makes a table of two models' published solutions of three questions, whose gold answer is 5."""
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
    study = Study.of(write_study(solutions=solutions, results={"tables": tables}), tmp_path / "data", tmp_path / "results")

    def make(name):
        make_table(name, study, ROOT / f"workflow/report/{name}.rst", tmp_path / "tables")
        assert (tmp_path / f"tables/{name}.md").read_text().startswith("|")
        return pd.read_csv(tmp_path / f"tables/{name}.csv")

    return make


def test_disagreements_say_who_is_right(judged):
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
    assert votes == pytest.approx([1 / 2, 1 / 2], abs=0.05)  # one of two is drawn; two that differ are a tie, broken by chance
    assert "agreement with is_correct: 5 of 6 grades (83.33 %)" in capsys.readouterr().err


# ---------------------------------------------------------------- answers that hang, crash or blow up a grader

POISON = {
    "tower": "9^{9^{9^{9}}}",
    "power": "10**10**10",
    "factorial": "((9!)!)!",
    "exponent": "1e1000000",
    "open fraction": r"\frac{1}{2",
    "open braces": "{" * 4000,
    "closed braces": "}" * 4000,
    "deep parentheses": "(" * 4000 + "1" + ")" * 4000,
    "deep fractions": r"\frac{1}{" * 900 + "2" + "}" * 900,
    "deep roots": r"\sqrt{" * 1200 + "2" + "}" * 1200,
    "carets": "2" + "^2" * 4000,
    "signs": "-" * 9000 + "1",
    "too long": "1" * 100_000,
    "digits": "1" * 9999,
    "nested boxes": r"\boxed{\boxed{}}",
    "unicode": "∑𝟙\u202e½٣",
    "surrogate": "\ud800",
    "NUL": "\x00\x00",
    "matrix": r"\begin{pmatrix}" + r" \\ ".join(" & ".join(str(i * j) for j in range(40)) for i in range(40)) + r"\end{pmatrix}",
    "spaces": "1" + " " * 9000 + "2",
    "commas": "," * 9000,
    "texts": r"\text{" * 1500,
    "units": "degrees " * 1200,
    "mixed numbers": "1 " * 4500,
    "ands": " and " * 1800,
    "equations": "x=" * 4500,
    "code": "__import__('os').abort()",
}


@pytest.mark.parametrize("answer", POISON.values(), ids=POISON.keys())
def test_rules_and_extraction_take_no_time_over_poison(answer):
    start = time.process_time()
    assert not same_by_rules(answer, "5")
    assert not same_by_rules("5", answer)
    extract_answer(f"answer {answer}")
    assert extract_answer(rf"\boxed{{{answer}") in (None, "", *POISON.values())
    assert time.process_time() - start < 0.5


def test_math_verify_is_bounded_in_time_on_poison():
    short = [
        POISON[name]
        for name in ("tower", "factorial", "open fraction", "too long", "nested boxes", "unicode", "surrogate", "NUL", "code")
    ]
    with Grader(seconds=1, workers=2) as grader:
        start = time.monotonic()
        assert grader([(answer, "5") for answer in short]) == [False] * len(short)
        assert grader([("x+1", "1+x")]) == [True]  # the pool goes on
        assert time.monotonic() - start < 120  # on a busy machine; 3 s of processor time
        assert grader.unjudged == {"too long": 1, "out of time": 2}
        assert "1 too long, 2 out of time" in grader.report()
        start = time.monotonic()
        assert grader([("9^{9^{9^{9}}}", "5")]) == [False]
        assert time.monotonic() - start < 0.1  # known


def allocate(pairs, seconds):
    return [len(bytearray(5 << 30)) > 0 for _ in pairs]


def die(pairs, seconds):
    os.abort()


def test_a_worker_without_memory_and_one_that_dies_count_as_wrong(monkeypatch):
    with Grader() as grader:
        monkeypatch.setattr(grading, "_verify", allocate)
        assert grader([("x+1", "1+x")]) == [False]
        assert grader.unjudged == {"crashed": 1}
        monkeypatch.setattr(grading, "_verify", die)
        assert grader([("x+2", "2+x")]) == [False]
        assert grader.unjudged == {"crashed": 2}


@pytest.mark.parametrize(
    "unit", ["answer ", "#### ", "#", r"\boxed{", r"\boxed{}", "{", "}", "A:", "answer:\n", "answer" + " " * 50, "\n", "a. "]
)
def test_extraction_is_linear(unit):
    def seconds(size):
        text = unit * (size // len(unit))
        start = time.process_time()
        extract_answer(text)
        return time.process_time() - start

    seconds(1000)
    assert min(seconds(200_000) for _ in range(2)) < 20 * max(min(seconds(50_000) for _ in range(2)), 0.005)


def test_the_last_statement_counts():
    assert extract_answer("The answer is 5\n####") == "5"
    assert extract_answer(r"\boxed{\boxed{7}}") == "7"
    assert extract_answer(r"\boxed{1} \boxed{2} \boxed{3") == "2"
    assert extract_answer("} \\boxed{4} }") == "4"


def test_answers_too_long_are_wrong_even_if_equal():
    with Grader() as grader:
        assert grader([("1" * LONGEST_ANSWER, "1" * LONGEST_ANSWER)]) == [True]
        assert grader([("1" * (LONGEST_ANSWER + 1), "1" * (LONGEST_ANSWER + 1))]) == [False]
        assert grader.unjudged == {"too long": 1}
