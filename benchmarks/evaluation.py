"""Evaluation of many samples: best-of-n with its intervals and tests, and grading by one and by two workers.

python benchmarks/evaluation.py [PAIRS]
"""

import sys
import time
from functools import partial
from itertools import combinations
from random import Random

import bench
import numpy as np
import pandas as pd
from bench import Row

from pqm.estimation.judge import Questions, aggregated, judge
from pqm.estimation.statistics import Clusters, accuracies, clusters_by_benchmark, compare, holm, summarise
from pqm.evaluate.grades import SAMPLES_PER_BATCH
from pqm.grading.grader import Grader

QUESTIONS, SAMPLES, SIZES, METHODS = 500, 128, (8, 16, 32, 64, 128), 8
CONFIDENCE, VOTE_SUBSETS = 0.95, 200
POLICIES, PAIRS = 3, 192_000
WRONG_ANSWERS = 12
WORKERS = (1, 2)
# An answer and a gold answer of the same value.
SPELLINGS = (
    (r"\pi {a}", r"{a} \pi"),
    (r"{b} \sqrt{{{a}}}", r"\sqrt{{{a}}}\cdot {b}"),
    (r"{a} + {b} x", r"{b}x+{a}"),
    (r"\frac{{{a} x}}{{{b}}}", r"\frac{{{a}}}{{{b}}}x"),
    (r"( {a} , {b} )", r"({a},{b}.0)"),
)


def samples(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Whether each sample is right, shape [questions, samples], and its scores, [methods, questions, samples]."""
    correct = random.random((QUESTIONS, SAMPLES)) < random.beta(1, 1, (QUESTIONS, 1))
    return correct, random.normal(size=(METHODS, QUESTIONS, SAMPLES)) + correct


def graded(correct: np.ndarray) -> Questions:
    """The samples by question, with 20 wrong answers per question."""
    wrong = np.random.default_rng(1).integers(20, size=correct.shape)
    frame = pd.DataFrame(
        {
            "question_id": np.repeat([f"question-{number:03d}" for number in range(QUESTIONS)], SAMPLES),
            "answer": np.where(correct, "right", np.char.add("wrong ", wrong.astype(str))).ravel(),
            "correct": correct.ravel(),
        }
    )
    return Questions.of(frame.assign(cluster=frame["question_id"]), SIZES)


def metric_table(questions: Questions, scores: np.ndarray) -> pd.DataFrame:
    """The metric table of all methods: exact best-of-n per question."""
    found, columns = questions.best(scores.reshape(METHODS, -1), SIZES), pd.DataFrame({"n": SIZES})
    parts = [questions.table(one, columns).assign(method=f"method {method}") for method, one in enumerate(found)]
    cell = {"policy": "policy", "benchmark": "benchmark", "backbone": "backbone", "aggregation": "min", "seed": 0}
    return pd.concat(parts, ignore_index=True).assign(**cell)


def intervals_and_tests(metrics: pd.DataFrame) -> tuple[pd.DataFrame, list[float]]:
    """What the tables contain: an interval per method and n, and Holm's p values of all paired tests at every n."""
    clusters: Clusters = clusters_by_benchmark(metrics)["benchmark"]
    p = []
    for _, cell in metrics.groupby("n"):
        values = [accuracies(part, clusters) for _, part in cell.groupby("method")]
        p += [compare(clusters, ours, other, CONFIDENCE).p for ours, other in combinations(values, 2)]
    return summarise(metrics, CONFIDENCE), holm(p)


def tables() -> list[Row]:
    """CPU seconds of a whole table, and of its parts."""
    correct, scores = samples(np.random.default_rng(0))
    questions, steps = graded(correct), list(scores[0].reshape(-1, 1))
    metrics = metric_table(questions, scores)
    exact, tests, votes = bench.cpu_seconds(
        lambda: metric_table(questions, scores),
        lambda: intervals_and_tests(metrics),
        lambda: judge(questions, aggregated(steps, ["min"])[None], ["min"], SIZES, VOTE_SUBSETS, 0),
    )
    size = f"{QUESTIONS} questions x {SAMPLES} samples x {len(SIZES)} n x {METHODS} methods"
    pairs = METHODS * (METHODS - 1) // 2
    note = f"exact best-of-n {exact:.2f}, {len(SIZES) * METHODS} intervals and {len(SIZES) * pairs} paired tests {tests:.2f}"
    used = bench.versions("numpy", "pandas", "scipy")
    return [
        Row("evaluation", f"intervals and paired tests: {size}", tests, unit="CPU-s", goal="< 5", note=used),
        Row(
            "evaluation",
            f"the same from scores, with exact best-of-n: {size}",
            exact + tests,
            unit="CPU-s",
            goal="< 5",
            note=note,
        ),
        Row("evaluation", f"one method with votes of {VOTE_SUBSETS} subsets (`pqm evaluate judge`)", votes, unit="CPU-s"),
    ]


def answer_pairs(count: int) -> list[tuple[str, str]]:
    """Answers of `POLICIES` x `SAMPLES` samples per question with their gold answers, which `math-verify` must parse.

    The gold answer is as frequent as all wrong ones, and the k-th wrong answer is 1 / k as frequent as the first.
    """
    random, pairs = Random(0), []
    while len(pairs) < count:
        spelled, gold = random.choice(SPELLINGS)
        a, b = random.randint(2, 99), random.randint(2, 99)
        right = [spelled.format(a=a, b=b), spelled.replace(" ", "").format(a=a, b=b)]
        wrong = [spelled.format(a=a + place, b=b) for place in range(1, WRONG_ANSWERS + 1)]
        weights = [1 / rank for rank in range(1, WRONG_ANSWERS + 1)]
        answers = random.choices(right, k=POLICIES * SAMPLES // 2) + random.choices(wrong, weights, k=POLICIES * SAMPLES // 2)
        random.shuffle(answers)
        pairs += [(answer, gold.format(a=a, b=b)) for answer in answers]
    return pairs[:count]


def grading(count: int) -> list[Row]:
    """Wall-clock seconds of grading by one and by two workers, batch by batch in turn."""
    pairs = answer_pairs(count)
    seconds, verdicts = dict.fromkeys(WORKERS, 0.0), {}
    with Grader(workers=WORKERS[0]) as one, Grader(workers=WORKERS[1]) as two:
        graders = dict(zip(WORKERS, (one, two)))
        for grader in graders.values():
            grader([(rf"\sqrt{{{number}}}", r"\sqrt{2}") for number in range(100)])  # starts the workers
        for start in range(0, len(pairs), SAMPLES_PER_BATCH):
            for workers, grader in graders.items():
                begin = time.perf_counter()
                verdicts[workers] = grader(pairs[start : start + SAMPLES_PER_BATCH])
                seconds[workers] += time.perf_counter() - begin
            assert verdicts[1] == verdicts[2]
    note = (
        f"{len(set(pairs)):,} distinct pairs, which need the parser; batches of {SAMPLES_PER_BATCH:,}; wall-clock;"
        f" {bench.versions('math-verify', 'pebble')}"
    )
    what, ratio = f"grading {len(pairs):,} pairs by two workers, against one", seconds[1] / seconds[2]
    return [Row("evaluation", what, seconds[2], seconds[1], "s", ratio, ">= 1.8", note)]


def measure(pairs: int = PAIRS) -> list[Row]:
    """The rows of tables and of grading."""
    return tables() + grading(pairs)


if __name__ == "__main__":
    bench.main(partial(measure, *map(int, sys.argv[1:])))
