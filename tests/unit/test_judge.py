"""Best-of-n and votes of anyone's tables: spellings, missing answers, scales and aggregations, against enumeration."""

import json
import math
import re
import shutil
from itertools import combinations, permutations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from verbs import score_verb

from pqm.errors import PqmError
from pqm.estimation.estimators import AGGREGATIONS
from pqm.estimation.judge import Questions, judge
from pqm.evaluate.answers import read_grades
from pqm.evaluate.judge import judge_scores
from pqm.evaluate.metrics import reference_metrics, run_metrics
from pqm.evaluate.official import official_table
from pqm.io import formats
from pqm.paper.published import judged_solutions
from pqm.study.evaluation import EvaluationConfig
from pqm.study.layout import Layout, scorer
from pqm.study.runs import RunConfig


@pytest.fixture
def write_tables(tmp_path):
    """Write grades and scores of questions, each a list of samples: answer, whether it is right, and step scores."""

    def write(*questions):
        rows = [
            {
                "question_id": f"q-{number}", "cluster": f"q-{number}", "sample_id": sample, "answer": answer, "correct": right,
                "grader": "made up", "second_correct": right, "rules_correct": None, "first_error": None,
                "step_scores": steps, "checkpoint": None,
            }
            for number, samples in enumerate(questions)
            for sample, (answer, right, steps) in enumerate(samples)
        ]  # fmt: skip
        frame = pd.DataFrame(rows).astype({"answer": object, "first_error": "Int64"})
        formats.write(frame, formats.GRADES, tmp_path / "grades.parquet")
        formats.write(frame, formats.SCORES, tmp_path / "scores.parquet")
        return tmp_path / "grades.parquet", tmp_path / "scores.parquet"

    return write


def accuracy(paths, method, n, aggregation="min", scale="logit"):
    table = judge_scores(*paths, aggregation, n, 0, scale).set_index(["method", "n"])["accuracy"]
    return [table[method, size] for size in n]


# ---------------------------------------------------------------- answers


@pytest.mark.parametrize("none", [None, "", " "])
def test_samples_without_an_answer_do_not_outvote_the_others(write_tables, none):
    paths = write_tables([(answer, answer == "7", [0.0]) for answer in (none, none, none, "7", "7")])
    assert accuracy(paths, "weighted vote", [5]) == [1.0]
    assert accuracy(paths, "best-of-n", [5]) == [pytest.approx(2 / 5)]


SPELLINGS = ["70000", "70,000", "$70,000"]


@pytest.mark.parametrize("start", range(3))
def test_votes_count_values_not_spellings(write_tables, start):
    spelled = SPELLINGS[start:] + SPELLINGS[:start]
    samples = [(answer, True, [0.0]) for answer in spelled] + [("5", False, [0.0]), ("5", False, [0.0]), (None, False, [0.0])]
    paths = write_tables(samples)
    assert accuracy(paths, "weighted vote", [6]) == [1.0]
    assert list(read_grades(paths[0])["answer"]) == [spelled[0]] * 3 + ["5", "5", None]


def test_spellings_of_other_questions_do_not_matter(write_tables):
    first, second = [("1/2", True, [0.0]), ("0.5", True, [0.0])], [("0.5", True, [0.0]), ("3", False, [0.0])]
    paths = write_tables(first, second)
    assert list(read_grades(paths[0])["answer"]) == ["1/2", "1/2", "0.5", "3"]


def test_the_authors_count_spellings(write_tables):
    paths = write_tables([(answer, True, [0.0]) for answer in SPELLINGS] + [("5", False, [0.0]), ("5", False, [0.0])])
    table = official_table(*paths, "min", [5], "logit").set_index("method")
    assert table.at["self-consistency", "math-verify"] == 0.0
    assert list(pd.read_parquet(paths[0])["answer"]) == [*SPELLINGS, "5", "5"]


def test_self_consistency_of_all_tables_counts_values(tmp_path, write_study, write_tables):
    samples = [(answer, True, [0.0]) for answer in SPELLINGS] + [("5", False, [0.0]), (None, False, [0.0])]
    grades, scores = write_tables(samples)
    layout = Layout.of_file(write_study("s"), tmp_path / "data", tmp_path / "results")
    for source, copy in ((grades, layout.grades("weak", "test")), (scores, layout.scores(scorer("bce", 0), "weak", "test"))):
        Path(copy).parent.mkdir(parents=True)
        shutil.copy(source, copy)
    rollouts = pd.DataFrame(
        [
            {"question_id": "q-0", "sample_id": number, "text": "", "steps": [], "n_tokens": 1, "finish_reason": "stop",
             "log_likelihood": None, "seed": 0, "engine": "made up"}
            for number in range(5)
        ]
    )  # fmt: skip
    formats.write(rollouts, formats.ROLLOUTS, Path(layout.rollouts("weak", "test")))
    config = EvaluationConfig(policies=("weak",), benchmarks=("test",), validation="validation", references=(), n=(1, 2, 5),
                              reference_backbone="none", vote_subsets=200, batch_tokens=8, seed=0)  # fmt: skip
    run = RunConfig(loss="bce", labels="none", backbone="none")
    rows = pd.concat([reference_metrics(config, layout), run_metrics("bce", run, config, [0], layout)])
    rows = rows[rows["aggregation"].isin(["none", "min"])].set_index(["method", "n"])["accuracy"]
    assert rows["self-consistency", 1] == pytest.approx(rows["pass@1", 1]) == pytest.approx(3 / 5)
    pairs = [sum(one) / max(1, len(one)) for one in (_voters(pair, samples) for pair in combinations(range(5), 2))]
    assert rows["self-consistency", 2] == pytest.approx(np.mean(pairs))
    assert rows["self-consistency", 5] == 1.0
    assert [rows["bce+self-consistency", n] for n in (1, 2, 5)] == [rows["self-consistency", n] for n in (1, 2, 5)]


def _voters(pair, samples):
    return [samples[index][1] for index in pair if samples[index][0] is not None]


# ---------------------------------------------------------------- aggregations


PROBABILITY = {"min": min, "last": lambda steps: steps[-1], "product": math.prod, "mean": lambda steps: sum(steps) / len(steps)}


def enumerated(samples, n, aggregation, weigh):
    """Best-of-n (weigh=False) or the weighted vote (True) over all ordered draws, from probabilities of steps."""
    hits = []
    for drawn in permutations(samples, n):
        scores = [PROBABILITY[aggregation](steps) if steps else -1.0 for _, _, steps in drawn]
        totals = {}
        if not weigh:
            hits.append(drawn[max(range(n), key=lambda index: scores[index])][1])
            continue
        for (answer, _, _), score in zip(drawn, scores):
            if answer is not None:
                totals[answer] = totals.get(answer, 0.0) + max(score, 0.0)
        best = [answer for answer in totals if totals[answer] > max(totals.values()) - 1e-9]
        hits.append(bool(best) and next(right for answer, right, _ in drawn if answer == best[0]))
    return np.mean(hits)


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("scale", ["probability", "logit"])
def test_every_aggregation_ranks_and_votes_by_the_probability_of_the_solution(write_tables, aggregation, scale):
    random = np.random.default_rng(1)
    questions = [
        [
            (answer, answer == "1", [float(p) for p in random.choice([0.1, 0.3, 0.7, 0.9], size=random.integers(0, 4))])
            for answer in random.choice(np.array(["1", "2", "3", None]), size=5)
        ]
        for _ in range(6)
    ]
    logits = [[(a, right, [math.log(p / (1 - p)) for p in steps]) for a, right, steps in one] for one in questions]
    paths = write_tables(*(questions if scale == "probability" else logits))
    n = [1, 2, 3, 5]
    for method, weigh in (("best-of-n", False), ("weighted vote", True)):
        expected = [np.mean([enumerated(one, k, aggregation, weigh) for one in questions]) for k in n]
        assert accuracy(paths, method, n, aggregation, scale) == pytest.approx(expected, abs=1e-9), method


@pytest.mark.parametrize(("aggregation", "winner"), [("product", "a"), ("mean", "b")])
def test_votes_weigh_the_product_or_mean_itself(write_tables, aggregation, winner):
    # product: .64 + .64 = 1.28 for "a" against 3 times .4 for "b"; mean: 1.6 for "a" against 2.1 for "b".
    samples = [("a", winner == "a", [0.8, 0.8])] * 2 + [("b", winner == "b", [0.4, 1.0])] * 3
    paths = write_tables(samples)
    assert accuracy(paths, "weighted vote", [5], aggregation, "probability") == [1.0]
    official = official_table(*paths, aggregation, [5], "probability").set_index("method")
    assert official.at["best-of-n + self-consistency", "math-verify"] == 1.0


def test_unknown_aggregations_are_one_sentence(refuses, tables):
    for verb in ("judge", "official"):
        command = ["evaluate", verb, "--grades", tables.grades, "--scores", tables.scores, "--n", 2, "--aggregation", "median"]
        refuses(*command, says=("--aggregation 'median'", "min, last, product, mean"))


# ---------------------------------------------------------------- scales


def test_scores_between_0_and_1_need_a_scale(refuses, run_pqm, write_tables):
    grades, scores = write_tables([("1", True, [0.9, 0.8]), ("2", False, [1.0, 0.0])])
    for verb in ("judge", "official"):
        command = ["evaluate", verb, "--grades", grades, "--scores", scores, "--n", 2]
        refuses(*command, says=(scores, "between 0 and 1", "--scale probability", "--scale logit"))
        for scale in ("probability", "logit"):
            assert run_pqm(*command, "--scale", scale)[0] == 0
        refuses(*command, "--scale", "percent", says=("--scale 'percent'", "logit, probability"))


def test_one_score_outside_0_to_1_is_no_probability(write_tables):
    paths = write_tables([("1", True, [0.9, 0.8]), ("2", False, [1.5])])
    assert accuracy(paths, "best-of-n", [2], scale=None) == [0.0]
    with pytest.raises(PqmError, match=re.escape("row 1 (question 'q-0', sample 1), step_scores: expected probabilities")):
        accuracy(paths, "best-of-n", [2], scale="probability")


@pytest.mark.parametrize("steps", [[], [0.0], [1.0], [0.5, 0.5]])
def test_solutions_with_the_same_scores_need_no_scale(write_tables, steps):
    paths = write_tables([("1", True, steps), ("2", False, steps), ("1", True, steps)])
    for scale in (None, "probability", "logit"):
        assert accuracy(paths, "best-of-n", [2], scale=scale) == [pytest.approx(2 / 3)]
        assert accuracy(paths, "weighted vote", [1, 2], scale=scale) == [pytest.approx(2 / 3)] * 2


def test_impossible_and_certain_steps_are_still_ranked(write_tables):
    paths = write_tables([("1", True, [0.0]), ("2", False, [])], [("1", True, [1.0]), ("2", False, [1 - 1e-16])])
    for aggregation in AGGREGATIONS:
        assert accuracy(paths, "best-of-n", [2], aggregation, "probability")[0] >= 0.75
    assert accuracy(paths, "best-of-n", [2], "min", "probability") == [1.0]


def test_tables_written_here_say_their_scale(run_pqm, checkpoint, tables, out):
    assert run_pqm(*score_verb(checkpoint, tables, out))[0] == 0
    table = formats.read(out, formats.SCORES)
    assert table.attrs["scale"] == "logit"
    between = table.assign(step_scores=[[0.25]] * len(table))
    formats.write(between, formats.SCORES, out)
    command = ["evaluate", "judge", "--grades", tables.grades, "--scores", out, "--n", 2]
    assert run_pqm(*command)[0] == 0


# ---------------------------------------------------------------- published solutions


def test_votes_on_published_solutions_count_values(tmp_path):
    answers = {"first": "70000", "second": "70,000", "third": "$70,000", "fourth": "5", "fifth": "5"}
    parts = {
        model: pd.DataFrame([{"question_id": "q-0", "answer": answer, "correct": answer != "5", "second_correct": answer != "5"}])
        for model, answer in answers.items()
    }
    questions = pd.DataFrame([{"question_id": "q-0", "question": "how many ?", "answer": "70000"}]).set_index("question_id")
    published = {"question": "how many ?"} | {model: {"is_correct": answer != "5"} for model, answer in answers.items()}
    (tmp_path / "solutions.jsonl").write_text(json.dumps(published))
    table = judged_solutions(parts, questions, tmp_path / "solutions.jsonl")
    votes = table[table["method"] == "self-consistency"].set_index("n")["accuracy"]
    assert votes[1] == pytest.approx(3 / 5) and votes[5] == 1.0


# ---------------------------------------------------------------- many questions and scorers together


def test_questions_of_several_sizes_and_scorers_are_judged_as_alone():
    random = np.random.default_rng(0)
    names = ["b"] * 5 + ["a"] * 3 + ["c"] * 5 + ["a"] * 2 + ["d"] * 7
    frame = pd.DataFrame(
        {"question_id": names, "answer": random.choice(["1", "2", None], 22), "correct": random.random(22) < 0.5}
    )
    graded, scores = frame.assign(cluster=frame["question_id"].str.upper()), random.normal(size=(2, 3, 22))
    found = judge(Questions.of(graded, [1, 3]), scores, ["min", "mean", "last"], [1, 3], 200, 0)
    for of_scorer, table in zip(scores, found):
        assert list(table["question_id"].unique()) == ["a", "b", "c", "d"]
        for name, part in table.groupby("question_id"):
            assert set(part["cluster"]) == {name.upper()}
            rows = np.flatnonzero(graded["question_id"] == name)
            for place, aggregation in enumerate(["min", "mean", "last"]):
                best = part[(part["kind"] == "best") & (part["aggregation"] == aggregation)].set_index("n")["accuracy"]
                for n in (1, 3):
                    samples = list(zip(of_scorer[place, rows], graded["correct"].to_numpy()[rows]))
                    expected = np.mean([max(subset)[1] for subset in combinations(samples, n)])
                    assert best[n] == pytest.approx(expected, abs=1e-12)
            assert list(part.loc[part["kind"] == "vote", "aggregation"]) == ["min", "min"]


def test_too_few_samples_of_a_question_are_named():
    frame = pd.DataFrame({"question_id": ["a", "a", "b"], "answer": ["1"] * 3, "correct": [True] * 3, "cluster": ["a", "a", "b"]})
    with pytest.raises(PqmError, match="'b': 1 samples, but n = 2"):
        Questions.of(frame, [1, 2])
