"""Arguments of the verbs, and settings that they take."""

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

ROLLOUTS = {"samples": 2, "temperature": 1.0, "max_new_tokens": 4, "questions_per_batch": 3, "seed": 0}
LABELS = {
    "dataset": "tiny",
    "policies": ["tiny"],
    "completer": "tiny",
    "completions": 1,
    "temperature": 1.0,
    "max_new_tokens": 4,
    "questions_per_batch": 3,
    "seed": 0,
}
TRAINING = {
    "seeds": [0],
    "epochs": 1,
    "learning_rate": 0.001,
    "warmup_share": 0.0,
    "clip": 1.0,
    "batch_tokens": 512,
    "weighting": "trajectory",
    "checkpoint_every": 1,
    "validation": "tiny",
}
RUN = {"loss": "bce", "labels": "tiny", "backbone": "tiny"}
NO_SPACE = OSError(errno.ENOSPC, "No space left on device")


def parts_below(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.part"))


def put(column: str, row: int, value: Any) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def change(frame: pd.DataFrame) -> pd.DataFrame:
        cells = list(frame[column])
        cells[row] = value
        return frame.assign(**{column: pd.Series(cells, dtype=object)})

    return change


def sample_verb(config: tuple[Path, str], tables: Any, policy: Path, out: Path) -> list[object]:
    inputs = ["--policy", policy, "--questions", tables.questions]
    return ["rollouts", "sample", config, "--output", out, *inputs, "--cache", out.parents[1] / "cache"]


def grade_verb(questions: Path, rollouts: Path, out: Path) -> list[object]:
    return ["evaluate", "grades", "--output", out, "--questions", questions, "--rollouts", rollouts]


def score_verb(checkpoint: Path, tables: Any, out: Path, kind: str = "reward") -> list[object]:
    inputs = ["--questions", tables.questions, "--rollouts", tables.rollouts, "--output", out]
    return ["evaluate", "scores", checkpoint, *inputs, "--kind", kind, "--cache", out.parents[1] / "cache"]


def judge_verb(grades: Path, scores: Path, n: tuple[int, ...] = (1, 2), aggregation: str = "min") -> list[object]:
    sizes = [word for size in n for word in ("--n", size)]
    return ["evaluate", "judge", "--grades", grades, "--scores", scores, *sizes, "--aggregation", aggregation]


def question_verb(config: tuple[Path, str], folder: Path, out: Path) -> list[object]:
    return ["questions", config, "--output", out, "--published", folder]


def label_verb(config: tuple[Path, str], completer: Path, tables: Any, rollouts: list[Path], out: Path) -> list[object]:
    given = [word for path in rollouts for word in ("--rollouts", path)]
    inputs = ["--completer", completer, "--questions", tables.questions, *given]
    return ["labels", config, "--output", out, *inputs, "--cache", out.parents[1] / "cache"]


def pretrain_verb(config: tuple[Path, str], questions: Path, out: Path) -> list[object]:
    return ["policies", "pretrain", config, "--output", out, "--questions", questions, "--cache", out.parents[1] / "cache"]
