"""The case study, the framework figure and the assumption figure where only Monte Carlo labels of the steps are known."""

from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small import write_yaml

from pqm.errors import PqmError
from pqm.evaluate.grades import grade
from pqm.io import formats
from pqm.paper.audit import audit, distinct_prefixes
from pqm.paper.figure import draw_figure
from pqm.paper.figures import assumption, framework
from pqm.paper.results import Results
from pqm.paper.table import make_table

QUESTIONS = 12
COMPLETIONS = 4
TEXT = (
    "A baker sold {} rolls for $3 each in the morning and ten more in the evening, and paid $5 for the stall. What did she earn?"
)
LONG = "Step 3: " + "In the evening she sold ten more rolls, which makes $30 more, because each roll is sold for $3. " * 2
# Steps with hits of four completions each; the last step is the solution's own grade. A label rises again in the second one.
SOLUTIONS = {
    "right": (["Step 1: 3 rolls.", "Step 2: $9.", LONG, "Step 4: 39 - 5.", "Step 5: The answer is: {}"], [4, 4, 3, 4, 1]),
    "wrong": (["Step 1: 3 rolls.", "Step 2: $8.", LONG, "Step 4: 38 - 5.", "Step 5: The answer is: 7"], [4, 0, 1, 0, 0]),
}
RUNS = {"bce": {"loss": "bce"}, "pqm-zeta4": {"loss": "pqm", "loss_settings": {"zeta": 4.0}}}
Q = {
    "bce": {"right": [1.0, 2, 2, 2, 2], "wrong": [1.0, 0, 0, 0, 0]},
    "pqm-zeta4": {"right": [1.0, 2, 3, 4, 5], "wrong": [1.0, -2, -1, -3, -4]},
}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A study of questions that are no word problems: a benchmark and an audit set, each with two solutions per question."""
    folder = tmp_path_factory.mktemp("labelled")
    rollouts = {"samples": 2, "temperature": 1.0, "max_new_tokens": 64, "questions_per_batch": 8, "seed": 0}
    settings = {
        "rollouts": {"test": rollouts, "audit": rollouts},
        "training": {"seeds": [0, 1], "epochs": 1.0, "learning_rate": 1e-4, "warmup_share": 0.1, "clip": 1.0, "batch_tokens": 64,
                     "weighting": "trajectory", "checkpoint_every": 5, "validation": "audit"},
        "runs": {name: {"labels": "audit", "backbone": "large"} | content for name, content in RUNS.items()},
        "evaluation": {"policies": ["mixed"], "benchmarks": ["test"], "audit": "audit", "reference_backbone": "large",
                       "references": ["likelihood"], "n": [1, 2], "vote_subsets": 200, "batch_tokens": 64, "seed": 0},
        "results": {"tables": {"case_study": ["bce", "pqm-zeta4"]}, "figures": {"framework": ["pqm-zeta4"], "assumption": []},
                    "confidence": 0.95, "resamples": 300, "seed": 0},
    }  # fmt: skip
    write_yaml(folder / "made/study.yaml", settings)
    results = Results(folder / "made/study.yaml", folder / "data", folder / "results")
    for dataset in ("test", "audit"):
        write_set(results, dataset)
    formats.write(pd.DataFrame(labels()), formats.LABELS, Path(results.layout.labels("audit")))
    return results


def write_set(results: Results, dataset: str) -> None:
    """Write questions, rollouts, grades and scores of a data set."""
    layout, names = results.layout, [f"{dataset}-{number:02}" for number in range(QUESTIONS)]
    questions = [
        {"question_id": name, "question": TEXT.format(number), "answer": str(3 * number + 25), "solution": ["x"]}
        | {"cluster": name, "perturbation": None}
        for number, name in enumerate(names)
    ]
    formats.write(pd.DataFrame(questions), formats.QUESTIONS, Path(layout.questions(dataset)))
    rollouts = [
        {"question_id": question["question_id"], "sample_id": sample, "text": "\n".join(steps), "steps": steps, "n_tokens": 9}
        | {"finish_reason": "stop", "log_likelihood": -1.0, "seed": 0, "engine": "made up"}
        for question in questions
        for sample, steps in enumerate(solutions(question["answer"]))
    ]
    formats.write(pd.DataFrame(rollouts), formats.ROLLOUTS, Path(layout.rollouts("mixed", dataset)))
    grades = grade(Path(layout.questions(dataset)), Path(layout.rollouts("mixed", dataset)))
    assert grades["first_error"].isna().all() and grades["correct"].tolist() == [True, False] * QUESTIONS
    formats.write(grades, formats.GRADES, Path(layout.grades("mixed", dataset)))
    for run in RUNS:
        for seed in (0, 1):
            scores = [{"question_id": row["question_id"], "sample_id": row["sample_id"], "checkpoint": "made up",
                       "step_scores": [q + 0.5 * (1 - 2 * seed) for q in Q[run][("right", "wrong")[row["sample_id"]]]]}
                      for row in rollouts]  # fmt: skip
            formats.write(pd.DataFrame(scores), formats.SCORES, Path(layout.scores(f"{run}/seed-{seed}", "mixed", dataset)))


def solutions(answer: str) -> list[list[str]]:
    return [[step.format(answer) for step in steps] for steps, _ in SOLUTIONS.values()]


def labels() -> list[dict[str, object]]:
    """A row per solution of the audit set."""
    rows = []
    for number in range(QUESTIONS):
        answer = str(3 * number + 25)
        for steps, hits in ((steps, hits) for (_, hits), steps in zip(SOLUTIONS.values(), solutions(answer))):
            counts = [COMPLETIONS] * (len(hits) - 1) + [1]
            rows.append(
                {"question_id": f"audit-{number:02}", "policy": "mixed", "prompt": TEXT.format(number), "completions": steps,
                 "labels": [float(hit > 0) for hit in hits], "soft_labels": [hit / count for hit, count in zip(hits, counts)],
                 "hits": hits, "counts": counts, "answer": answer, "correct": bool(hits[-1]), "method": "made up",
                 "completion_tokens": 5}
            )  # fmt: skip
    return rows


def test_case_study_has_the_labels_of_an_audited_solution(study, tmp_path):
    make_table("case_study", study, tmp_path)
    table = pd.read_csv(tmp_path / "case_study.csv")
    assert table["right"].tolist() == [True, False, True, False, False]
    assert table["hits"].tolist() == [4, 0, 1, 0, 0] and table["count"].tolist() == [4, 4, 4, 4, 1]
    for method in ("bce", "pqm-zeta4"):  # the two seeds differ from Q by +.5 and -.5
        assert table[method].to_numpy() == pytest.approx(1 / (1 + np.exp(-np.array(Q[method]["wrong"]))), abs=1e-4)
    shown = (tmp_path / "case_study.md").read_text()
    assert "audit-00, mixed policy" in shown and "Its steps have Monte Carlo labels" in shown and "1 of 4" in shown
    assert "label" in shown.splitlines()[0] and "truth" not in shown.splitlines()[0]


def test_case_study_without_truth_and_labels_is_refused(study, tmp_path):
    settings = study.settings.evaluation.model_copy(update={"audit": None})
    without = Results(study.file, Path(study.layout.data), Path(study.layout.results))
    without.settings = study.settings.model_copy(update={"evaluation": settings})
    with pytest.raises(PqmError, match="test: the first wrong step of no solution is known"):
        make_table("case_study", without, tmp_path)


def test_framework_shows_a_solution_by_its_labels(study, tmp_path):
    draw_figure("framework", study, tmp_path)
    data = framework.data(study, ["pqm-zeta4"])
    assert data["right"].tolist() == [True, False, True, False, False] and set(data["judged_by"]) == {"labels"}
    assert data["q"].tolist() == Q["pqm-zeta4"]["wrong"] and data["hits"].tolist() == [4, 0, 1, 0, 0]
    texts = [text.get_text() for axis in framework.draw(data).axes for text in axis.texts]
    assert any("by the labels" in text for text in texts) and any("paid $5 for" in " ".join(text.split()) for text in texts)


def test_nothing_of_a_long_solution_overlaps_or_is_cut_off(study):
    figure = framework.draw(framework.data(study, ["pqm-zeta4"]))
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    steps = [box for text, box in zip(figure.axes[0].texts, boxes) if text.get_bbox_patch() is not None]
    assert len(steps) == 5 and all(upper.y0 > lower.y1 for upper, lower in pairwise(steps))
    assert all(box.x0 >= 0 and box.y1 <= figure.bbox.height and box.x1 <= figure.axes[1].get_window_extent().x0 for box in boxes)
    assert min(box.y0 for box in boxes[:1]) > boxes[1].y1 > steps[0].y1


def by_hand(hits: int, label: bool) -> tuple[float, float, float]:
    """The chance of a label by two of four completions, and the expected hits and counts of the other two with this label."""
    outcomes = [place < hits for place in range(COMPLETIONS)]
    halves = [set(half) for half in combinations(range(COMPLETIONS), COMPLETIONS // 2)]
    chosen = [half for half in halves if any(outcomes[place] for place in half) == label]
    others = [outcomes[place] for half in chosen for place in range(COMPLETIONS) if place not in half]
    return len(chosen) / len(halves), sum(others) / len(halves), len(others) / len(halves)


@pytest.mark.parametrize("hits", range(COMPLETIONS + 1))
def test_a_prefix_is_labelled_by_every_half_of_its_completions(hits):
    prefix = pd.DataFrame([{"question_id": "a", "step": 1, "right": True, "hits": hits, "count": COMPLETIONS}])
    rows = assumption.labelled_by_half(prefix).set_index("right")
    for label in (True, False):
        assert rows.loc[label, ["prefixes", "hits", "count"]].tolist() == pytest.approx(by_hand(hits, label))


def test_odd_and_single_completions_are_halved_as_far_as_possible():
    prefixes = pd.DataFrame([{"question_id": "a", "step": 1, "right": True, "hits": 1, "count": count} for count in (1, 3)])
    rows = assumption.labelled_by_half(prefixes).set_index("right")
    assert (
        len(rows) == 2 and rows.loc[True, "prefixes"] == pytest.approx(1 / 3) and rows.loc[False, "hits"] == pytest.approx(2 / 3)
    )
    assert rows["count"].sum() == pytest.approx(2)


def test_assumption_is_drawn_from_labels(study, tmp_path):
    draw_figure("assumption", study, tmp_path)
    data = assumption.data(study, []).set_index(["step", "right"])
    assert set(data["judged_by"]) == {"labels"}
    # Both solutions share their first step, so it counts once per question. Four hits of four are always labelled right.
    assert data.loc[(1, True), "share"] == 1 and data.loc[(1, True), "prefixes"] == QUESTIONS and (1, False) not in data.index
    # Third steps: three hits of four, and one hit of four.
    chance, hits, count = np.array([by_hand(hits, True) for hits in (3, 1)]).sum(axis=0)
    assert data.loc[(3, True), "share"] == pytest.approx(hits / count)
    assert data.loc[(3, True), "prefixes"] == pytest.approx(QUESTIONS * chance)
    assert (3, False) not in data.index and QUESTIONS * (2 - chance) < 10
    assert (data["low"] <= data["share"]).all() and (data["share"] <= data["high"]).all()
    legend = assumption.draw(data.reset_index()).legends[0]
    assert [text.get_text() for text in legend.get_texts()] == ["after a prefix labelled right", "after a prefix labelled wrong"]


def test_true_steps_are_not_taken_from_labels(study):
    with pytest.raises(PqmError, match="labels audit: the truth of their steps is unknown"):
        audit(study)


def test_whole_solutions_are_no_prefixes():
    rows = pd.DataFrame([row | {"steps": tuple(row["completions"]), "right": [True] * 5} for row in labels()])
    assert sorted(set(distinct_prefixes(rows)["step"])) == [1, 2, 3, 4]
