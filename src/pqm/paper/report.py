"""The study's page: every table and figure, some questions to look into, and where each number comes from, in one file."""

import platform
import re
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader

from pqm import __version__
from pqm.errors import PqmError
from pqm.evaluate.estimators import aggregate, probability
from pqm.paper import FIGURE_NEEDS, TABLE_NEEDS
from pqm.paper.study import Study
from pqm.paper.style import printed
from pqm.paper.tables import write_text
from pqm.questions.stories import ALL_RIGHT
from pqm.work import checkpoint_hash, content_hash

QUESTIONS_SHOWN = 6
SAMPLES_SHOWN = 8
PACKAGES = ("torch", "transformers", "accelerate", "numpy", "scipy", "pandas", "snakemake", "dvc")

CELLS = re.compile(r"(?<!\\)\|")  # a bar between cells, not an escaped one within

TITLES = {
    "main": "Best-of-n",
    "differences": "Which differences hold",
    "backbones": "Backbones",
    "loss_ablation": "Losses: Eq. 9, Eq. 10, Eq. 12",
    "margin_ablation": "Margins",
    "self_consistency": "With self-consistency",
    "aggregations": "From steps to a solution's score",
    "first_error": "Finding the first wrong step",
    "annotated_errors": "Finding the first wrong step, as people marked it",
    "case_study": "One solution, step by step",
    "grader_disagreement": "Two graders",
    "cost": "What it took",
    "paper_comparison": "Published numbers",
    "published_solutions": "Published solutions of GSM8K",
    "published_disagreements": "Published solutions on which graders differ",
    "framework": "A trajectory and its Q values",
    "best_of_n": "Best-of-n against n",
    "margin": "The margin",
    "votes": "With self-consistency, against n",
    "assumption": "Assumption 3.1",
    "q_values": "Theorem 3.5 in the study",
    "label_audit": "Monte Carlo labels against the truth",
    "separation": "Scores of right and wrong steps",
    "calibration": "Calibration",
    "compute": "Accuracy for its compute",
    "theory": "Theorem 3.5 in exact processes",
}


def write_report(study: Study, captions: Path, output: Path) -> None:
    """Write the page to `output`.

    Raises:
        PqmError: a table or figure that the study lists is missing.
    """
    template = Environment(loader=PackageLoader("pqm.paper", "."), autoescape=True).get_template("report.html.jinja")
    page = template.render(
        study=study.name,
        figures=[_figure(study, name, captions) for name in study.paper.figures],
        tables=[_table(study, name) for name in study.paper.tables],
        questions=_questions(study),
        runs=[printed(study.run(run).method) for run in study.paper.report],
        checkpoints=_checkpoints(study),
        files=_files(study),
        version=__version__,
        python=platform.python_version(),
        packages=[(name, version(name)) for name in PACKAGES],
    )
    write_text(output, page)


def _read(path: Path) -> str:
    if not path.exists():
        raise PqmError(f"{path}: missing; the report shows every table and figure that the results of the study list")
    return path.read_text()


def _figure(study: Study, name: str, captions: Path) -> dict[str, str]:
    drawing = _read(study.results / "figures" / f"{name}.svg")
    inline = drawing[drawing.index("<svg") :]
    # Ids are unique within a drawing only; glyphs and clips of two drawings must not meet.
    for mark in ('id="', 'href="#', "url(#"):
        inline = inline.replace(mark, f"{mark}{name}-")
    return {"name": name, "title": TITLES[name], "svg": inline, "caption": " ".join(_read(captions / f"{name}.rst").split())}


def _table(study: Study, name: str) -> dict[str, Any]:
    """The Markdown table as rows of cells, and the caption below it."""
    lines = _read(study.results / "tables" / f"{name}.md").splitlines()
    grid = [[cell.strip().replace(r"\|", "|") for cell in CELLS.split(line)[1:-1]] for line in lines if line.startswith("|")]
    caption = " ".join(line for line in lines if line and not line.startswith("|"))
    return {"name": name, "title": TITLES[name], "head": grid[0], "rows": grid[2:], "caption": caption, "long": len(grid) > 30}


def _questions(study: Study) -> list[dict[str, Any]]:
    """The first questions of the first benchmark, with their first distinct samples by the middle policy."""
    benchmark = study.evaluation.benchmarks[0]
    policies = study.evaluation.policies
    policy = policies[len(policies) // 2]
    texts = study.questions(benchmark)
    steps = study.rollouts(policy, benchmark)[["question_id", "sample_id", "steps"]]
    scored = {
        run: study.scored(study.scorers(run)[0], policy, benchmark).merge(steps, on=["question_id", "sample_id"])
        for run in study.paper.report
    }
    shown = []
    for question_id in sorted(texts.index)[:QUESTIONS_SHOWN]:
        tables = {run: table[table["question_id"] == question_id] for run, table in scored.items()}
        shown.append(
            {
                "id": question_id,
                "text": texts.at[question_id, "question"],
                "gold": texts.at[question_id, "answer"],
                "policy": policy,
                "share": f"{100 * next(iter(tables.values()))['correct'].mean():.0f} %",
                "samples": _samples(study, tables),
            }
        )
    return shown


def _samples(study: Study, tables: dict[str, pd.DataFrame]) -> list[dict[str, Any]]:
    first = next(iter(tables.values()))
    distinct = first.assign(text=first["steps"].map(tuple)).drop_duplicates("text")
    samples = []
    for row in distinct.head(SAMPLES_SHOWN).itertuples():
        scores = [list(table.loc[table["sample_id"] == row.sample_id, "step_scores"].iloc[0]) for table in tables.values()]
        error = int(row.first_error) if row.first_error == row.first_error else None
        samples.append(
            {
                "id": row.sample_id,
                "answer": row.answer or "none",
                "right": bool(row.correct),
                "steps": [_step(place, text, scores, error) for place, text in enumerate(row.steps)],
                "totals": [f"{aggregate(values, study.run(run).aggregation):.2f}" for run, values in zip(tables, scores)],
            }
        )
    return samples


def _step(place: int, text: str, scores: Sequence[Sequence[float]], error: int | None) -> dict[str, Any]:
    chances = [float(probability(np.array(values[place]))) for values in scores]
    truth = "" if error is None else "right" if error == ALL_RIGHT or place < error else "wrong"
    return {
        "text": text,
        "cells": [{"value": f"{chance:.2f}", "colour": _colour(chance)} for chance in chances],
        "first_wrong": place == error,
        "truth": truth,
    }


def _colour(chance: float) -> str:
    """From orange (0) over white (1/2) to blue (1), readable behind black text."""
    low, middle, high = np.array([244, 165, 100]), np.array([255, 255, 255]), np.array([120, 180, 230])
    mixed = middle + (high - middle) * (2 * chance - 1) if chance >= 0.5 else low + (middle - low) * (2 * chance)
    return "#" + "".join(f"{round(part):02x}" for part in mixed)


def _checkpoints(study: Study) -> list[dict[str, Any]]:
    rows = []
    for run in study.runs:
        for seed in study.seeds(run):
            facts = study.facts(run, seed)
            rows.append(
                {
                    "run": run,
                    "seed": seed,
                    "weights": checkpoint_hash(study.results / "checkpoints" / run / f"seed-{seed}"),
                    "labels": f"{facts['run']['labels']} {facts['labels_sha256'][:12]}",
                    "backbone": f"{facts['run']['backbone']} {facts['backbone_sha256'][:12]}",
                    "solutions": facts["solutions"],
                    "steps": facts["optimizer_steps"],
                    "auc": "" if facts["validation"]["solution_auc"] is None else f"{facts['validation']['solution_auc']:.3f}",
                }
            )
    return rows


def _files(study: Study) -> list[dict[str, str]]:
    """Each result with the runs that it is about and the SHA-256 of its machine-readable file."""
    rows = []
    for kind, results, needs in (("tables", study.paper.tables, TABLE_NEEDS), ("figures", study.paper.figures, FIGURE_NEEDS)):
        for name, runs in results.items():
            path = study.results / kind / f"{name}.csv"
            rows.append(
                {
                    "name": name,
                    "path": path.as_posix(),
                    "runs": ", ".join(runs) or "-",
                    "needs": ", ".join(needs[name]) or "nothing",
                    "sha256": content_hash(path)[:12],
                }
            )
    return rows
