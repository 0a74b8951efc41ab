import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from small import tiny_llama, write_yaml
from verbs import RUN, TRAINING, parts_below

from pqm.cli.__main__ import main
from pqm.io import formats
from pqm.models.reward_model import reward_model, save_reward_model
from pqm.problems.tokenizer import word_problem_tokenizer
from pqm.problems.word_problems import parse_problem
from pqm.questions.generate import make_questions
from pqm.solution_format import SolutionFormat
from pqm.study.questions import QuestionsConfig, WordProblemsSource

WRONG_ENDING = "= 30"


def wrong_step(step: str) -> str:
    return f"{step.split(' = ')[0]} {WRONG_ENDING}"


def label_rows(question: Any) -> list[dict[str, Any]]:
    """Three solutions of a problem: a right one, one with all steps wrong, and one with a wrong last step."""
    right = list(parse_problem(question.question).solution)
    solutions = {
        tuple(right): [1.0] * len(right),
        tuple(map(wrong_step, right)): [0.0] * len(right),
        (*right[:-1], wrong_step(right[-1]).replace(" , ", " . ")): [1.0] * (len(right) - 1) + [0.0],
    }
    return [
        {
            "question_id": question.question_id,
            "policy": "tiny",
            "prompt": question.question,
            "completions": list(steps),
            "labels": labels,
            "soft_labels": [0.9 * label + 0.05 for label in labels],
            "hits": [int(label) for label in labels],
            "counts": [1] * len(labels),
            "answer": question.answer,
            "correct": labels[-1] == 1.0,
            "method": "made up",
            "completion_tokens": 0,
        }
        for steps, labels in solutions.items()
    ]


def rollout_rows(question: Any, samples: int) -> list[dict[str, Any]]:
    right = list(parse_problem(question.question).solution)
    rows = []
    for number in range(samples):
        steps = right if number % 2 == 0 else [*right[:-1], f"{wrong_step(right[-1])} , answer 30"]
        rows.append(
            {
                "question_id": question.question_id,
                "sample_id": number,
                "text": "\n".join(steps) + "\n",
                "steps": steps,
                "n_tokens": 10 * len(steps),
                "finish_reason": "stop",
                "log_likelihood": -1.5,
                "seed": 0,
                "engine": "made up",
            }
        )
    return rows


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(scope="session")
def policy(shared: Path) -> Path:
    folder, tokenizer = shared / "policy", word_problem_tokenizer()
    tiny_llama(tokenizer, positions=160, spread=0.1).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    SolutionFormat().save(folder)
    return folder


@pytest.fixture(scope="session")
def checkpoint(shared: Path, policy: Path) -> Path:
    folder = shared / "checkpoint"
    model, tokenizer = reward_model(policy, seed=0)
    save_reward_model(model, tokenizer, SolutionFormat(), folder)
    return folder


@pytest.fixture(scope="session")
def tables(shared: Path) -> SimpleNamespace:
    """Paths of matching question, rollout, label, grade and score tables."""
    paths = SimpleNamespace(
        **{name: shared / "tables" / f"{name}.parquet" for name in ("questions", "rollouts", "labels", "grades", "scores")}
    )
    source = WordProblemsSource(kind="word-problems", questions=6, facts=(1, 2), seed=1)
    questions = make_questions(QuestionsConfig(source=source), "tiny", {}, Path("."))
    formats.write(questions, formats.QUESTIONS, paths.questions)
    each = list(questions.itertuples())
    rollouts = pd.DataFrame([row for question in each for row in rollout_rows(question, 4)])
    formats.write(rollouts, formats.ROLLOUTS, paths.rollouts)
    formats.write(pd.DataFrame([row for question in each for row in label_rows(question)]), formats.LABELS, paths.labels)
    right = rollouts["sample_id"] % 2 == 0
    grades = rollouts[["question_id", "sample_id"]].assign(
        cluster=rollouts["question_id"],
        answer=right.map({True: "1", False: "30"}),
        correct=right,
        grader="made up",
        second_correct=right,
        first_error=None,
    )
    formats.write(grades, formats.GRADES, paths.grades)
    scores = rollouts[["question_id", "sample_id"]].assign(
        step_scores=[[0.5, float(number)] for number in rollouts["sample_id"]], checkpoint="made up"
    )
    formats.write(scores, formats.SCORES, paths.scores)
    return paths


@pytest.fixture
def write_study(tmp_path: Path) -> Callable[..., Path]:
    """Write a study with these sections, and return its file."""

    def write(name: str = "study", /, **sections: Any) -> Path:
        path = tmp_path / f"{name}.yaml"
        write_yaml(path, sections)
        return path

    return write


@pytest.fixture
def settings(write_study: Callable[..., Path]) -> Callable[..., tuple[Path, str]]:
    """Write a study with one item, by default `tiny`; return its file and the item, two arguments of `run_cli`."""

    def write(section: str, item: str = "tiny", /, **content: Any) -> tuple[Path, str]:
        return write_study(section, **{section: {item: content}}), item

    return write


@pytest.fixture
def run_pqm(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run `pqm` with these arguments (a tuple is several arguments); return exit code, standard output and standard error."""

    def run(*arguments: object) -> tuple[int, str, str]:
        flat = [word for argument in arguments for word in (argument if isinstance(argument, tuple) else (argument,))]
        monkeypatch.setattr(sys, "argv", ["pqm", *map(str, flat)])
        capsys.readouterr()
        code: Any = 0
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def run_cli(run_pqm: Callable[..., tuple[int, str, str]]) -> Callable[..., tuple[int, str]]:
    """Run `pqm` like `run_pqm`; return exit code and standard error."""

    def run(*arguments: object) -> tuple[int, str]:
        code, _, error = run_pqm(*arguments)
        return code, error

    return run


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out" / "made.parquet"


@pytest.fixture
def refuses(run_cli: Callable[..., tuple[int, str]], tmp_path: Path, out: Path) -> Callable[..., str]:
    """Run a verb that must fail with a message of one line, or one line per fault, and leave no files.

    The message must contain the words `says`. Returns the whole standard error.
    """

    def run(*arguments: object, says: tuple[object, ...], faults: int = 1) -> str:
        code, text = run_cli(*arguments)
        assert code == 1
        said = text.splitlines()
        before, (first, *more) = said[:-faults], said[-faults:]
        assert first.startswith("pqm: ") and not any(line.startswith("pqm: ") for line in [*before, *more])
        for word in says:
            assert str(word) in "\n".join([first, *more])
        assert not out.exists() and not list(tmp_path.glob("out/*"))
        assert parts_below(tmp_path) == []
        return text

    return run


@pytest.fixture
def changed(tmp_path: Path) -> Callable[[Path, Callable[[pd.DataFrame], pd.DataFrame]], Path]:
    """Write a changed copy of a table, without checks."""

    def write(table: Path, change: Callable[[pd.DataFrame], pd.DataFrame]) -> Path:
        path = tmp_path / f"changed-{table.name}"
        pq.write_table(pa.Table.from_pandas(change(pd.read_parquet(table)), preserve_index=False), path)
        return path

    return write


@pytest.fixture
def train_verb(write_study: Callable[..., Path], tables: Any, policy: Path, out: Path) -> Callable[..., list[object]]:
    def arguments(
        labels: Path = tables.labels, run: dict[str, Any] = RUN, backbone: Path = policy, validation: Path = tables.labels
    ) -> list[object]:
        inputs = ["--labels", labels, "--validation", validation, "--backbone", backbone, "--seed", 0]
        study = write_study("run", runs={"tiny": run}, training=TRAINING)
        return ["train", study, "tiny", "--output", out, *inputs, "--cache", out.parents[1] / "cache"]

    return arguments
