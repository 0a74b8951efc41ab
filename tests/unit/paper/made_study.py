"""A small study for tests of tables, figures and the report: real word problems with made-up scores."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
from small import write_yaml

from pqm.evaluate.grades import grade
from pqm.evaluate.metrics import reference_metrics, run_metrics
from pqm.io import formats
from pqm.paper.results import Results
from pqm.problems.word_problems import parse_problem, step_truth
from pqm.questions.generate import make_questions
from pqm.study.questions import QuestionsConfig, WordProblemsSource

SAMPLES, SEEDS, COMPLETIONS = 8, (0, 1), 6
POLICIES, BENCHMARKS = ["weak", "strong"], ["test", "perturbed"]
SETS = {"test": 30, "perturbed": 20, "validation": 8, "audit": 6}
RUNS = {
    "bce": {"loss": "bce"},
    "pqm-zeta4": {"loss": "pqm", "loss_settings": {"zeta": 4.0}},
    "bce-early": {"loss": "bce", "backbone": "early"},
    "pqm-zeta8": {"loss": "pqm", "loss_settings": {"zeta": 8.0}, "seeds": [1], "policies": ["weak"]},
}
SKILLS = {"bce": -0.5, "pqm-zeta4": 4.0, "bce-early": 0.1, "pqm-zeta8": 0.3}
LISTED = {
    "tables": {
        "main": ["bce", "pqm-zeta4"],
        "differences": ["bce", "pqm-zeta4"],
        "backbones": ["bce", "bce-early"],
        "loss_ablation": ["pqm-zeta4"],
        "margin_ablation": ["pqm-zeta4", "pqm-zeta8"],
        "self_consistency": ["bce", "pqm-zeta4"],
        "aggregations": ["bce", "pqm-zeta4"],
        "first_error": ["bce", "pqm-zeta4"],
        "annotated_errors": ["bce", "pqm-zeta4"],
        "case_study": ["bce", "pqm-zeta4"],
        "grader_disagreement": [],
        "cost": [],
        "paper_comparison": [],
    },
    "figures": {
        "framework": ["pqm-zeta4"],
        "best_of_n": [],
        "margin": [],
        "votes": [],
        "assumption": [],
        "q_values": ["bce", "pqm-zeta4"],
        "label_audit": [],
        "separation": ["bce", "pqm-zeta4"],
        "calibration": ["bce", "pqm-zeta4"],
        "compute": ["bce", "pqm-zeta4"],
        "theory": [],
    },
}


def make_study(folder: Path) -> Results:
    """Write all inputs of tables and figures: `made/study.yaml`, `data/` and `results/`."""
    random = np.random.default_rng(0)
    write_settings(folder / "made/study.yaml")
    results = Results(folder / "made/study.yaml", folder / "data", folder / "results")
    for index, (name, size) in enumerate(SETS.items()):
        source = WordProblemsSource(kind="word-problems", questions=size, facts=(3, 5), seed=index)
        questions = make_questions(QuestionsConfig(source=source), name, {}, Path("."))
        formats.write(questions, formats.QUESTIONS, Path(results.layout.questions(name)))
        parts = [write_cell(results, questions, policy, name, random) for policy in POLICIES]
        if name in ("audit", "validation"):
            write_labels(Path(results.layout.labels(name)), questions, pd.concat(parts), random)
    write_annotated(results)
    write_reported(folder / "config/reported.csv")
    for run in RUNS:
        write_run(results, run)
    layout = results.layout
    formats.write(reference_metrics(results.evaluation, layout), formats.METRICS, Path(layout.metrics("references")))
    snapshots = Path(layout.pretraining("language-model"), "snapshots.csv")
    snapshots.parent.mkdir(parents=True)
    snapshots.write_text("snapshot,tokens\na,10\nb,4000\n")
    write_benchmark(Path(layout.benchmarks, "policies/pretraining-language-model.tsv"), 9.0)
    return results


def write_settings(file: Path) -> None:
    evaluation = {"policies": POLICIES, "benchmarks": BENCHMARKS, "validation": "validation", "audit": "audit", "annotated": ["marked"],
                  "reference_backbone": "error-detecting", "n": [1, 2, 8], "vote_subsets": 200, "batch_tokens": 64, "seed": 0}  # fmt: skip
    training = {"seeds": list(SEEDS), "epochs": 1.0, "learning_rate": 1e-4, "warmup_share": 0.1, "clip": 1.0, "batch_tokens": 64,
                "weighting": "trajectory", "checkpoint_every": 5, "validation": "validation"}  # fmt: skip
    rollouts = {"samples": SAMPLES, "temperature": 1.0, "max_new_tokens": 64, "questions_per_batch": 8, "seed": 0}
    pretraining = {"start": "nothing", "phases": [{"steps": 1, "learning_rate": 1e-3, "facts": [3, 5]}], "snapshot_every": 1,
                   "batch_tokens": 64, "excluded": ["test"], "validation": "validation", "seed": 0}  # fmt: skip
    sections = {
        "pretraining": {"language-model": pretraining},
        "rollouts": dict.fromkeys(SETS, rollouts),
        "training": training,
        "runs": {name: {"labels": "audit", "backbone": "error-detecting"} | content for name, content in RUNS.items()},
        "evaluation": evaluation,
        "results": LISTED | {"report": ["bce", "pqm-zeta4"], "confidence": 0.95, "resamples": 300, "seed": 0},
    }
    write_yaml(file, sections)


# ---------------------------------------------------------------- samples


def write_cell(results: Results, questions, policy: str, name: str, random) -> pd.DataFrame:
    """Write rollouts of a policy on a data set, with grades, all scores and the timing."""
    layout = results.layout
    rollouts = write_rollouts(Path(layout.rollouts(policy, name)), questions, policy, random)
    grades = grade(Path(layout.questions(name)), Path(layout.rollouts(policy, name)))
    formats.write(grades, formats.GRADES, Path(layout.grades(policy, name)))
    for run in RUNS:
        for scorer in results.scorers(run):
            write_scores(Path(layout.scores(scorer, policy, name)), questions, rollouts, SKILLS[run], random)
    for kind in ("likelihood", "step-classifier"):
        write_scores(Path(layout.scores(f"references/{kind}", policy, name)), questions, rollouts, 0.5, random)
    write_benchmark(Path(layout.benchmarks, f"rollouts/{policy}/{name}.tsv"), 2.0)
    return rollouts


def with_injected_error(random, problem, chance: float) -> list[str]:
    """The problem's solution; with probability `chance` with a wrong result and a wrong answer."""
    steps = list(problem.solution)
    if random.random() < chance:
        place = random.integers(len(steps))
        steps[place] = re.sub(r"= \d+", "= 29", steps[place])
        steps[-1] = re.sub(r"answer \d+", f"answer {random.integers(40, 60)}", steps[-1])
    return steps


def write_rollouts(path: Path, questions, policy: str, random) -> pd.DataFrame:
    rows = []
    for question in questions.itertuples():
        for sample in range(SAMPLES):
            steps = with_injected_error(random, parse_problem(question.question), 0.7 if policy == "weak" else 0.4)
            rows.append(
                {"question_id": question.question_id, "sample_id": sample, "text": "\n".join(steps), "steps": steps}
                | {"n_tokens": 9 * len(steps), "finish_reason": "stop", "log_likelihood": -float(random.random())}
                | {"seed": 0, "engine": "made up"}
            )
    frame = pd.DataFrame(rows)
    formats.write(frame, formats.ROLLOUTS, path)
    return frame


def write_scores(path: Path, questions, rollouts, skill: float, random) -> None:
    """Write scores. With a higher skill, right steps score further above wrong ones."""
    texts = questions.set_index("question_id")["question"]
    truths = [step_truth(texts[row.question_id], list(row.steps)) for row in rollouts.itertuples()]
    values = [[float(random.normal(skill if right else -skill, 1.0)) for right in truth] for truth in truths]
    table = rollouts[["question_id", "sample_id"]].assign(step_scores=values, checkpoint="made up")
    formats.write(table, formats.SCORES, path)


def write_labels(path: Path, questions, rollouts, random) -> None:
    texts = questions.set_index("question_id")["question"]
    rows = {}
    for row in rollouts.itertuples():
        truth = step_truth(texts[row.question_id], list(row.steps))
        hits = [int(random.binomial(COMPLETIONS, 0.8 if right else 0.1)) for right in truth[:-1]] + [int(truth[-1])]
        counts = [COMPLETIONS] * (len(truth) - 1) + [1]
        rows[row.question_id, tuple(row.steps)] = {
            "question_id": row.question_id, "policy": "weak", "prompt": texts[row.question_id], "completions": row.steps,
            "labels": [float(hit > 0) for hit in hits], "soft_labels": [hit / count for hit, count in zip(hits, counts)],
            "hits": hits, "counts": counts, "answer": "1", "correct": truth[-1], "method": "made up", "completion_tokens": 5,
        }  # fmt: skip
    formats.write(pd.DataFrame(rows.values()), formats.LABELS, path)


def write_annotated(results: Results) -> None:
    """Write annotated solutions: those of the weak policy on `test`, with their known truth."""
    layout = results.layout
    grades = Path(layout.annotated("marked"), "grades.parquet")
    grades.parent.mkdir(parents=True)
    shutil.copy(layout.grades("weak", "test"), grades)
    for scorer in (scorer for run in RUNS for scorer in results.scorers(run)):
        path = Path(layout.scores(scorer, "annotated", "marked"))
        path.parent.mkdir()
        shutil.copy(layout.scores(scorer, "weak", "test"), path)


def write_reported(path: Path) -> None:
    """Write published numbers: one that the study measures, and one that it does not."""
    rows = [{"policy": policy, "benchmark": "test", "method": "bce", "n": 8, "accuracy": 0.5, "source": "made up"}
            for policy in ("weak", "another")]  # fmt: skip
    path.parent.mkdir()
    pd.DataFrame(rows).to_csv(path, index=False)


# ---------------------------------------------------------------- reward models and timing


def write_run(results: Results, run: str) -> None:
    """Write metrics, checkpoints and timing of a run."""
    layout, config = results.layout, results.run(run)
    metrics = run_metrics(run, config, results.evaluation, results.seeds(run), layout)
    formats.write(metrics, formats.METRICS, Path(layout.metrics(run)))
    for scorer in results.scorers(run):
        checkpoint = Path(layout.checkpoint(scorer))
        checkpoint.mkdir(parents=True)
        (checkpoint / "model.safetensors").write_bytes(scorer.encode())
        facts = {"run": config.model_dump(), "labels_sha256": "a" * 64, "backbone_sha256": "b" * 64, "solutions": 3,
                 "optimizer_steps": 4, "tokens": 1000, "validation": {"solution_auc": 0.8}}  # fmt: skip
        (checkpoint / "run.json").write_text(json.dumps(facts))
        write_benchmark(Path(layout.benchmarks, f"train/{scorer}.tsv"), 6.0)
    write_benchmark(Path(layout.benchmarks, f"evaluate/{run}/scores.tsv"), 4.0)


def write_benchmark(path: Path, seconds: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    head = ["s", "h:m:s", "max_rss", "max_vms", "max_uss", "max_pss", "io_in", "io_out", "mean_load", "cpu_time"]
    path.write_text("\t".join(head) + "\n" + f"{seconds}\t0:00:01\t100.5\t1\t1\t1\t1\t1\t50\t{seconds / 2}\n")


def rows_of(results: Results, name: str) -> pd.DataFrame:
    """A finished table."""
    return pd.read_csv(results.layout.table(name, "csv"))
