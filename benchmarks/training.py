"""Training a reward model with BCE, against TRL's PRMTrainer: real tokens per CPU second, at equal loss curves.

python benchmarks/training.py
"""

import json
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from bench import REPEATS, Row, Used, command, environment, main, versions
from inputs import FORMAT, language_model, rollouts
from transformers import AutoConfig, AutoModelForTokenClassification

from pqm.io import formats
from pqm.io.shard_cache import ShardCache
from pqm.models.reward_model import Encoder, reward_model
from pqm.problems.tokenizer import word_problem_tokenizer
from pqm.problems.word_problems import step_truth
from pqm.questions.generate import make_questions
from pqm.study.pretraining import Architecture
from pqm.study.questions import QuestionsConfig, WordProblemsSource
from pqm.study.runs import RunConfig
from pqm.study.training import TrainingConfig
from pqm.train import trainer as training
from pqm.train.data import TrainingExample, batches, examples
from pqm.train.train_step import TrainStep

TRL = "1.13.0"
BATCH = 16  # rows; ours fills batches by tokens, and takes as many steps
ROWS, SAME_LENGTH_ROWS = 320, 128
SHAPE = Architecture(
    hidden_size=256, intermediate_size=1024, layers=4, heads=4, key_value_heads=2, max_positions=512, initializer_range=0.02,
    rope_theta=10_000.0, attention_bias=0.0,
)  # fmt: skip
LEARNING_RATE, CLIP = 3e-4, 1.0
LAST = 5  # steps whose mean loss is shown
RUN = RunConfig(loss="bce", labels="train", backbone="llama")


@dataclass(frozen=True)
class Inputs:
    """Files of both sides, in a folder.

    Attributes:
        tokens: real tokens of the rows.
        steps: optimizer steps of both sides.
    """

    folder: Path
    tokens: int
    steps: int


def label_table(count: int, same_length: bool) -> pd.DataFrame:
    """Simulated solutions of word problems with the truth of each step, a label table.

    Args:
        same_length: whether all of them have the same numbers of steps and tokens.
    """
    source = WordProblemsSource(kind="word-problems", questions=8 * count if same_length else count, facts=(3, 7), seed=0)
    questions = make_questions(QuestionsConfig(source=source), "made", {}, Path())
    table = rollouts(questions, 1).merge(questions[["question_id", "question"]], on="question_id")
    shapes = pd.Series([(row.n_tokens, row.question.count(" "), len(row.steps)) for row in table.itertuples()])
    if same_length:
        table = table[(shapes == shapes.value_counts().index[0]).to_numpy()]
        assert len(table) >= count, "too few solutions of one length"
    rows = [_labelled(row) for row in table.head(count).itertuples()]
    return FORMAT.mark(pd.DataFrame(rows, columns=formats.LABELS.schema.names))


def _labelled(row: Any) -> dict[str, Any]:
    labels = [float(right) for right in step_truth(row.question, row.steps)]
    return {
        "question_id": row.question_id,
        "policy": "simulated",
        "prompt": row.question,
        "completions": list(row.steps),
        "labels": labels,
        "soft_labels": labels,
        "hits": [int(label) for label in labels],
        "counts": [1] * len(labels),
        "answer": None,
        "correct": bool(labels[-1]),
        "method": "truth",
        "completion_tokens": 0,
    }


def write_inputs(folder: Path, count: int, same_length: bool) -> Inputs:
    """Write labels, backbone and settings of ours, and model and rows of the peer."""
    tokenizer = word_problem_tokenizer()
    language_model(folder / "backbone", SHAPE)
    table = label_table(count, same_length)
    formats.write(table, formats.LABELS, folder / "labels.parquet")
    formats.write(FORMAT.mark(table.head(1)), formats.LABELS, folder / "validation.parquet")
    data = examples(table, Encoder(tokenizer, FORMAT), "hard")
    settings = TrainingConfig(
        seeds=(0,), epochs=1, learning_rate=LEARNING_RATE, warmup_share=0.1, clip=CLIP, batch_tokens=_budget(data),
        weighting="step", checkpoint_every=10**6, validation="validation",
    )  # fmt: skip
    (folder / "training.json").write_text(settings.model_dump_json())
    schedule = training.Schedule.of(data, RUN, settings)

    write_peer(folder)
    order = [row for rows in batches(data, settings.batch_tokens, np.random.default_rng([0, 0])) for row in rows]
    rows = [
        {"prompt": FORMAT.prompt(row.prompt), "completions": row.completions, "labels": [int(label) for label in row.labels]}
        for row in table.iloc[order].itertuples()
    ]
    (folder / "rows.json").write_text(json.dumps(rows))
    for name, (strategy, checkpointing) in PEERS.items():
        facts = {
            "model": str(folder / "peer"), "rows": str(folder / "rows.json"), "batch": BATCH, "clip": CLIP,
            "rates": [schedule.learning_rate_at(step) for step in range(schedule.steps)],
            "strategy": strategy, "checkpointing": checkpointing,
        }  # fmt: skip
        (folder / f"{name}.json").write_text(json.dumps(facts))
    return Inputs(folder, sum(len(one.encoded.tokens) for one in data), schedule.steps)


def write_peer(folder: Path) -> None:
    """Write the reward model that ours starts with, with two logits whose difference is its logit, as TRL needs it."""
    model, tokenizer = reward_model(folder / "backbone", 0)
    config = AutoConfig.from_pretrained(folder / "backbone", num_labels=2, token_classification_bias=False)
    peer = AutoModelForTokenClassification.from_config(config)
    peer.base_model.load_state_dict(model.base_model.state_dict())
    with torch.no_grad():
        peer.score.weight.copy_(torch.cat([-model.score.weight / 2, model.score.weight / 2]))
    peer.save_pretrained(folder / "peer")
    tokenizer.save_pretrained(folder / "peer")


PEERS = {
    "random": ("random", True),
    "group_by_length": ("group_by_length", True),
    "group_by_length, no gradient checkpointing": ("group_by_length", False),
    "sequential": ("sequential", False),
}


def _budget(data: list[TrainingExample]) -> int:
    """The fewest tokens per batch with which an epoch takes no more steps than with batches of `BATCH` rows."""
    steps = len(data) / BATCH
    budgets = range(max(len(one.encoded.tokens) for one in data), 10**6)
    return next(tokens for tokens in budgets if len(batches(data, tokens, np.random.default_rng(0))) <= steps)


def train_ours(folder: Path) -> None:
    """Train with ours, and print CPU seconds and losses as JSON."""
    losses = []

    class Recording(TrainStep):
        def __call__(self, *arguments: Any) -> tuple[float, bool]:
            value, stop = super().__call__(*arguments)
            losses.append(value)
            return value, stop

    training.TrainStep = Recording
    settings = TrainingConfig.model_validate_json((folder / "training.json").read_text())
    files = training.TrainingFiles(folder / "labels.parquet", folder / "validation.parquet", folder / "backbone")
    with tempfile.TemporaryDirectory() as made:
        cache = ShardCache(Path(made), "train", Path(made, "model"), [RUN, settings], [files.labels])
        trainer = training.Trainer(RUN, settings, 0, files, cache)
        begin = time.process_time()
        trainer.train(Path(made, "model"))
        seconds = time.process_time() - begin
    print(json.dumps({"seconds": seconds, "losses": losses}))


def result(used: Used) -> dict[str, Any]:
    """What a training printed on its last line."""
    return json.loads(used.output.splitlines()[-1])


def measure() -> list[Row]:
    """Speed on rows of many lengths, and the difference of the loss curves on rows of one length, in the same batches."""
    python = environment("trl", f"trl=={TRL}")
    row = partial(Row, "training")
    note = f"TRL {TRL}, {versions('torch', 'transformers')}"
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        mixed, same = write_inputs(Path(one), ROWS, False), write_inputs(Path(other), SAME_LENGTH_ROWS, True)

        def run(inputs: Inputs, peer: str | None) -> Used:
            script = Path(__file__).parent / "peers/trl_prm.py"
            if peer:
                return command(python, script, inputs.folder / f"{peer}.json")
            return command(sys.executable, __file__, inputs.folder)

        names = [None, *(name for name in PEERS if name != "sequential")]
        runs = [[result(run(mixed, name)) for name in names] for _ in range(REPEATS)]
        best = [min(tries, key=lambda one: one["seconds"]) for tries in zip(*runs)]
        curves = [np.array(result(run(same, name))["losses"]) for name in (None, "sequential")]
    speeds = [mixed.tokens / one["seconds"] for one in best]
    last = [float(np.mean(one["losses"][-LAST:])) for one in best]
    size = f"Llama, hidden size 256, 4 layers, fp32; {ROWS} rows, {mixed.tokens:,} tokens, {mixed.steps} steps"
    return [
        *(
            row(f"TRL with {name}", speeds[0], speed, "tokens/CPU-s", speeds[0] / speed, ">= 1.5", f"{size}; {note}")
            for name, speed in zip(names[1:], speeds[1:])
        ),
        *(
            row(f"mean loss of the last {LAST} steps, TRL with {name}", last[0], loss, "", note="batches differ")
            for name, loss in zip(names[1:], last[1:])
        ),
        row(
            "largest difference of the loss of a step, in the same batches", float(np.abs(curves[0] - curves[1]).max()), unit="",
            goal="<= 1e-3", note=f"{same.steps} steps of {BATCH} rows of one length; loss {curves[0][0]:.3f} to {curves[0][-1]:.3f}",
        ),
    ]  # fmt: skip


if __name__ == "__main__":
    torch.set_num_threads(1)
    if len(sys.argv) > 1:
        train_ours(Path(sys.argv[1]))
    else:
        main(measure)
