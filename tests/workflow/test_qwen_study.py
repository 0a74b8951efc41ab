"""The qwen study with tiny models and a few rows in place of the hub: every stage up to the main table, in bfloat16."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from ruamel.yaml import YAML

from .conftest import ROOT, Project, copy_project
from .in_process import build
from .tiny_model import tiny_model

STUDY = "tiny-qwen"
QUESTIONS = [f"What is {left} + {right}?" for left in range(2, 8) for right in (1, 3)]


def label_row(question: str, right: bool) -> dict[str, str]:
    """A row of Math-Shepherd."""
    total = sum(map(int, question.removeprefix("What is ").removesuffix("?").split(" + "))) + (not right)
    steps = ["Add the numbers.", f"The answer is: {total}"]
    marks = "+" if right else "-"
    written = [f"Step {number}: {step}" for number, step in enumerate(steps, 1)]
    return {
        "input": f"{question} " + "\n".join(f"{step} ки" for step in written),
        "label": f"{question} {written[0]} +\n{written[1]} {marks}",
        "task": "GSM8K",
    }


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A copy of the project with a cut of the study for a CPU."""
    made = copy_project(tmp_path / "pqm")
    yaml = YAML(typ="safe", pure=True)
    study: dict[str, Any] = yaml.load(ROOT / "config/qwen/study.yaml")
    study["device"] = "cpu"
    for name, rollouts in study["rollouts"].items():
        study["rollouts"][name] = rollouts | {"samples": 4, "max_new_tokens": 12, "rows": 16}
    for name, share in (("train", [0.0, 0.6]), ("validation", [0.6, 1.0])):
        study["labels"][name] = {"source": study["labels"][name]["source"], "share": share}
    study["training"] |= {"seeds": [0], "learning_rates": [1e-4, 1e-3], "batch_tokens": 400}
    study["evaluation"] |= {"n": [1, 2, 4], "batch_tokens": 512}
    (made.folder / f"config/{STUDY}").mkdir()
    yaml.dump(study, made.folder / f"config/{STUDY}/study.yaml")
    return made


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A stand-in for the hub; what was asked of it."""
    import pqm.io.hub
    import pqm.models.pretrained

    asked: list[str] = []
    labels = tmp_path / "math-shepherd.jsonl"
    rows = pd.DataFrame([label_row(question, right) for question in QUESTIONS for right in (True, False)])
    rows.to_json(labels, orient="records", lines=True, force_ascii=False)

    def answered(make: Callable[..., Any]) -> Callable[..., Any]:
        def answer(name: str, *arguments: Any, **options: Any) -> Any:
            asked.append(name)
            return make(name)

        return answer

    def questions(name: str) -> Any:
        for question in QUESTIONS[:3]:
            answer = str(eval(question.removeprefix("What is ").removesuffix("?")))
            if name == "openai/gsm8k":
                yield {"question": question, "answer": f"Add them.\n#### {answer}"}
            else:
                yield {"problem": question, "answer": answer, "solution": f"\\boxed{{{answer}}}", "unique_id": f"test/{question}"}

    monkeypatch.setattr(pqm.io.hub, "hub_dataset", answered(questions))
    monkeypatch.setattr(pqm.io.hub, "hub_file", answered(lambda name: labels))
    monkeypatch.setattr(pqm.models.pretrained, "snapshot_download", answered(lambda name: tiny_model(tmp_path / name)))
    return asked


def test_the_study_runs_with_tiny_models_in_place_of_the_hub(
    project: Project, hub: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    build(project, STUDY, monkeypatch, f"results/{STUDY}/tables/main.csv", f"results/{STUDY}/tables/differences.csv")
    assert set(hub) == {
        "openai/gsm8k", "HuggingFaceH4/MATH-500", "peiyi9979/Math-Shepherd", "Qwen/Qwen2.5-1.5B-Instruct", "Qwen/Qwen2.5-0.5B"
    }  # fmt: skip
    table = pd.read_csv(f"results/{STUDY}/tables/main.csv")
    assert {"bce", "orm", "pqm-zeta4", "backbone-likelihood", "self-consistency", "pass@n"} <= set(table["method"])
    assert set(table["benchmark"]) == {"gsm8k", "math500"} and set(table["n"]) == {1, 2, 4}
    for run in ("bce", "orm", "pqm-zeta4"):
        chosen = pd.read_json(f"results/{STUDY}/checkpoints/{run}/learning-rate.json")
        assert chosen["learning_rate"].iloc[0] in (1e-4, 1e-3) and len(chosen) == 2
