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
from pqm.train.data import TrainingExample, batches, examples, labelled_trees
from pqm.train.train_step import TrainStep

TRL = "1.13.0"
BATCH = 16  # rows; ours fills batches by tokens, and takes as many steps
SEPARATE, SHARED = (160, 1), (4, 64)  # questions, and different solutions of each
SAME_LENGTH = ((128, 1), (32, 4))
SHAPE = Architecture(
    hidden_size=256, intermediate_size=1024, layers=4, heads=4, key_value_heads=2, max_positions=512, initializer_range=0.02,
    rope_theta=10_000.0, attention_bias=0.0,
)  # fmt: skip
LEARNING_RATE, CLIP = 3e-4, 1.0
UNCLIPPED = 1e6  # where losses are compared: two logits have another gradient norm than one, so they would be clipped otherwise
LAST = 5  # steps whose mean loss is shown
RUN = RunConfig(loss="bce", labels="train", backbone="llama")


@dataclass(frozen=True)
class Inputs:
    """Files of both sides, in a folder.

    Attributes:
        tokens: real tokens of the rows: those of each question count once for each of its solutions.
        merged: tokens after merging solutions into trees.
        question_share: the questions' share of the real tokens.
        steps: optimizer steps of both sides.
    """

    folder: Path
    tokens: int
    merged: int
    question_share: float
    steps: int


def label_table(questions: int, samples: int, same_length: bool) -> pd.DataFrame:
    """Different simulated solutions of word problems with the truth of each step, a label table.

    With several solutions, a problem is told twice, so that it is about half of the tokens.

    Args:
        samples: of each question.
        same_length: whether all of them have the same numbers of steps and tokens.
    """
    source = WordProblemsSource(kind="word-problems", questions=questions * (24 if same_length else 4), facts=(3, 7), seed=0)
    made = make_questions(QuestionsConfig(source=source), "made", {}, Path())
    table = rollouts(made, 1 if samples == 1 else 4 * samples).merge(made[["question_id", "question"]], on="question_id")
    table = table.drop_duplicates(["question_id", "text"])
    if same_length:
        shapes = pd.Series([(row.n_tokens, row.question.count(" "), len(row.steps)) for row in table.itertuples()])
        table = table[(shapes == shapes.value_counts().index[0]).to_numpy()]
    table = table[table.groupby("question_id")["question_id"].transform("size") >= samples]
    table = table.groupby("question_id", sort=False).head(samples)
    rows = [_labelled(row, 1 if samples == 1 else 2) for row in table.itertuples()]
    labels = FORMAT.mark(pd.DataFrame(rows, columns=formats.LABELS.schema.names))
    labels = FORMAT.mark(_by_size(labels) if same_length else labels).head(questions * samples)
    assert len(labels) == questions * samples, "too few different solutions"
    return FORMAT.mark(labels.reset_index(drop=True))


def _by_size(labels: pd.DataFrame) -> pd.DataFrame:
    """The rows, with questions of which trees have most tokens first, so that the first ones have trees of similar sizes."""
    encoder = Encoder(word_problem_tokenizer(), FORMAT)
    trees = labelled_trees(examples(labels, encoder, "hard"), 10**6)
    sizes = {tree.examples[0].question: len(tree.tree.tokens) for tree in trees}
    return labels.iloc[np.argsort(-labels["prompt"].map(sizes), kind="stable")]


def _labelled(row: Any, times: int) -> dict[str, Any]:
    labels = [float(right) for right in step_truth(row.question, row.steps)]
    return {
        "question_id": row.question_id,
        "policy": "simulated",
        "prompt": " ".join([row.question] * times),
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


def write_inputs(folder: Path, questions: int, samples: int, same_length: bool) -> Inputs:
    """Write labels, backbone and settings of ours, and model and rows of the peer."""
    tokenizer = word_problem_tokenizer()
    language_model(folder / "backbone", SHAPE)
    table = label_table(questions, samples, same_length)
    formats.write(table, formats.LABELS, folder / "labels.parquet")
    formats.write(FORMAT.mark(table.head(1)), formats.LABELS, folder / "validation.parquet")
    encoder = Encoder(tokenizer, FORMAT)
    data = examples(table, encoder, "hard")
    budget = _same_batches(data, samples) if same_length else _as_many_steps(data)
    clip = UNCLIPPED if same_length else CLIP
    settings = TrainingConfig(
        seeds=(0,), epochs=1, learning_rate=LEARNING_RATE, warmup_share=0.1, clip=clip, batch_tokens=budget,
        weighting="step", checkpoint_every=10**6, validation="validation",
    )  # fmt: skip
    (folder / "training.json").write_text(settings.model_dump_json())
    trees = labelled_trees(data, budget)
    schedule = training.Schedule.of(trees, RUN, settings)

    write_peer(folder)
    row_of = {id(one): row for one, row in zip(data, table.itertuples())}
    in_order = [one for group in batches(trees, budget, np.random.default_rng([0, 0])) for tree in group for one in tree.examples]
    rows = [
        {"prompt": FORMAT.prompt(row.prompt), "completions": row.completions, "labels": [int(label) for label in row.labels]}
        for row in (row_of[id(one)] for one in in_order)
    ]
    (folder / "rows.json").write_text(json.dumps(rows))
    for name, (strategy, checkpointing) in PEERS.items():
        facts = {
            "model": str(folder / "peer"), "rows": str(folder / "rows.json"), "batch": BATCH, "clip": clip,
            "rates": [schedule.learning_rate_at(step) for step in range(schedule.steps)],
            "strategy": strategy, "checkpointing": checkpointing,
        }  # fmt: skip
        (folder / f"{name}.json").write_text(json.dumps(facts))
    real = sum(len(one.encoded.tokens) for one in data)
    of_questions = sum(len(encoder(one.question, []).tokens) for one in data)
    return Inputs(folder, real, sum(len(tree.tree.tokens) for tree in trees), of_questions / real, schedule.steps)


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


# The order of TRL's rows, and gradient checkpointing, which is its default. The goals are about its defaults.
PEERS = {
    "random": ("random", True),
    "group_by_length": ("group_by_length", True),
    "group_by_length, no gradient checkpointing": ("group_by_length", False),
    "sequential": ("sequential", False),
}


def _as_many_steps(data: list[TrainingExample]) -> int:
    """About the fewest tokens per batch with which an epoch takes no more steps than with batches of `BATCH` rows."""
    for budget in range(max(len(one.encoded.tokens) for one in data), 10**6, 16):
        trees = labelled_trees(data, budget)
        if len(batches(trees, budget, np.random.default_rng(0))) <= len(data) / BATCH:
            return budget
    raise AssertionError("no budget is large enough")


def _same_batches(data: list[TrainingExample], samples: int) -> int:
    """The tokens per batch with which each batch has `BATCH` solutions, if there is one tree per question, of similar sizes."""
    sizes = [tree.size for tree in labelled_trees(data, 10**6)]
    per_batch = BATCH // samples
    assert len(sizes) * samples == len(data) and min(sizes) * (per_batch + 1) > max(sizes) * per_batch, "batches would differ"
    return max(sizes) * per_batch


def train_ours(folder: Path) -> None:
    """Train with ours, and print losses and CPU seconds as JSON, without those of validating and saving."""
    losses, ended = [], []

    class Recording(TrainStep):
        def __call__(self, *arguments: Any) -> tuple[float, bool]:
            value, stop = super().__call__(*arguments)
            losses.append(value)
            ended.append(time.process_time())
            return value, stop

    training.TrainStep = Recording
    settings = TrainingConfig.model_validate_json((folder / "training.json").read_text())
    files = training.TrainingFiles(folder / "labels.parquet", folder / "validation.parquet", folder / "backbone")
    with tempfile.TemporaryDirectory() as made:
        cache = ShardCache(Path(made), "train", Path(made, "model"), [RUN, settings], [files.labels])
        trainer = training.Trainer(RUN, settings, 0, files, cache)
        begin = time.process_time()
        trainer.train(Path(made, "model"))
    print(json.dumps({"seconds": ended[-1] - begin, "losses": losses}))


def result(used: Used) -> dict[str, Any]:
    """What a training printed on its last line."""
    return json.loads(used.output.splitlines()[-1])


def run(inputs: Inputs, peer: str | None) -> dict[str, Any]:
    """Train with ours, or with a peer's settings."""
    if peer:
        python = environment("trl", f"trl=={TRL}")
        return result(command(python, Path(__file__).parent / "peers/trl_prm.py", inputs.folder / f"{peer}.json"))
    return result(command(sys.executable, __file__, inputs.folder))


def speeds(inputs: Inputs, work: str, goal: float, repeats: int) -> list[Row]:
    """Real tokens per CPU second of ours and of each setting of the peer, and the losses at the end."""
    row = partial(Row, "training")
    names = [None, *(name for name in PEERS if name != "sequential")]
    runs = [[run(inputs, name) for name in names] for _ in range(repeats)]
    best = [min(tries, key=lambda one: one["seconds"]) for tries in zip(*runs)]
    ours, *theirs = (inputs.tokens / one["seconds"] for one in best)
    last = [float(np.mean(one["losses"][-LAST:])) for one in best]
    note = (
        f"Llama, hidden size 256, 4 layers, fp32; {inputs.tokens:,} tokens, questions {inputs.question_share:.0%},"
        f" {inputs.merged:,} in trees; {inputs.steps} steps; TRL {TRL}, {versions('torch', 'transformers')}"
    )
    return [
        *(
            row(
                f"{work}, TRL with {name}",
                ours,
                speed,
                "tokens/CPU-s",
                ours / speed,
                f">= {goal}" if PEERS[name][1] else "",
                note,
            )
            for name, speed in zip(names[1:], theirs)
        ),
        *(
            row(f"{work}: mean loss of the last {LAST} steps, TRL with {name}", last[0], loss, "", note="batches differ")
            for name, loss in zip(names[1:], last[1:])
        ),
    ]


def difference(inputs: Inputs, work: str) -> Row:
    """The largest difference of the loss of a step, in the same batches."""
    ours, theirs = (np.array(run(inputs, name)["losses"]) for name in (None, "sequential"))
    note = f"{inputs.steps} steps of {BATCH} rows of one length; loss {ours[0]:.3f} to {ours[-1]:.3f}"
    what = f"{work}: largest difference of the loss of a step, in the same batches"
    return Row("training", what, float(np.abs(ours - theirs).max()), unit="", goal="<= 1e-3", note=note)


def measure() -> list[Row]:
    """Speed and loss curve, with questions of one solution each and with questions of many."""
    rows = []
    names = ("one solution per question", f"{SHARED[1]} solutions per question")
    for work, size, same, goal, repeats in zip(names, (SEPARATE, SHARED), SAME_LENGTH, (1.5, 2.5), (REPEATS, 1)):
        with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
            rows += speeds(write_inputs(Path(one), *size, same_length=False), work, goal, repeats)
            rows.append(difference(write_inputs(Path(other), *same, same_length=True), work))
    return rows


if __name__ == "__main__":
    torch.set_num_threads(1)
    if len(sys.argv) > 1:
        train_ours(Path(sys.argv[1]))
    else:
        main(measure)
