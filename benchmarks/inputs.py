"""Inputs of several benchmarks: the demo where it is built; else word problems, simulated solutions and models of its shape."""

from pathlib import Path
from random import Random

import pandas as pd
import torch
from bench import ROOT
from transformers import PreTrainedTokenizerFast

from pqm.io import formats
from pqm.models.llama import fresh_llama
from pqm.models.reward_model import reward_model, save_reward_model
from pqm.problems.tokenizer import END, word_problem_tokenizer
from pqm.problems.word_problem_text import solution_with_errors
from pqm.problems.word_problems import parse_problem
from pqm.questions.generate import make_questions
from pqm.solution_format import SolutionFormat
from pqm.study.layout import Layout
from pqm.study.pretraining import Architecture
from pqm.study.questions import QuestionsConfig, WordProblemsSource
from pqm.study.reading import load_study

DEMO = Layout(str(ROOT / "data/demo"), str(ROOT / "results/demo"))
FORMAT = SolutionFormat()
ERROR_CHANCE = 0.15  # of each step of a simulated solution; about half of the solutions of five steps have one


def demo_is_built() -> bool:
    """Whether the demo's policies and rollouts are here."""
    return Path(DEMO.rollouts("strong", "test")).exists() and Path(DEMO.policy("strong"), "model.safetensors").exists()


def architecture() -> Architecture:
    """The shape of the demo's models."""
    found = load_study(ROOT / "config/demo/study.yaml").pretraining["language-model"].architecture
    assert found is not None
    return found


def questions(count: int, seed: int = 0) -> pd.DataFrame:
    """Word problems like those of the demo's test set."""
    source = WordProblemsSource(kind="word-problems", questions=count, facts=(3, 5), seed=seed)
    return make_questions(QuestionsConfig(source=source), "made", {}, Path())


def rollouts(table: pd.DataFrame, samples: int, seed: int = 0) -> pd.DataFrame:
    """Simulated solutions: worked ones, in which each step has an error with `ERROR_CHANCE`."""
    random, columns = Random(seed), {name: [] for name in formats.ROLLOUTS.schema.names}
    for row in table.itertuples():
        problem = parse_problem(row.question)
        for number in range(samples):
            words = solution_with_errors(random, problem, ERROR_CHANCE).words
            text = " ".join(words).removesuffix(f" {END}").replace(" \n", "\n").replace("\n ", "\n")
            values = (row.question_id, number, text, FORMAT.split(text), len(words) - 1, "stop", -1.0, seed, "simulated")
            for column, value in zip(columns.values(), values):
                column.append(value)
    return FORMAT.mark(pd.DataFrame(columns))


def language_model(folder: Path, shape: Architecture | None = None) -> Path:
    """Write a language model with random weights, by default of the demo's shape, to `folder`."""
    torch.manual_seed(0)
    tokenizer: PreTrainedTokenizerFast = word_problem_tokenizer()
    fresh_llama(shape or architecture(), tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    FORMAT.save(folder)
    return folder


def checkpoint(backbone: Path, folder: Path) -> Path:
    """Write a reward model with a random head to `folder`."""
    model, tokenizer = reward_model(backbone, seed=0)
    save_reward_model(model, tokenizer, FORMAT, folder)
    return folder


def demo_policy(folder: Path) -> tuple[Path, str]:
    """The demo's strongest policy, or else a model of its shape in `folder`; and which of them it is."""
    if demo_is_built():
        return Path(DEMO.policy("strong")), "the demo's strong policy"
    return language_model(folder), "a model of the demo's shape with random weights (the demo is not built)"


def demo_samples(count: int) -> tuple[str, list[list[str]], str]:
    """A question of the demo and the steps of `count` (at most 192) of its samples; simulated ones if the demo is not built.

    The samples of the policies are put together, as they are when they are scored.
    """
    if not demo_is_built():
        table = questions(1)
        return table["question"][0], list(rollouts(table, count)["steps"]), "simulated solutions (the demo is not built)"
    question = formats.read(Path(DEMO.questions("test")), formats.QUESTIONS).iloc[0]
    parts = [formats.read(Path(DEMO.rollouts(name, "test")), formats.ROLLOUTS) for name in ("strong", "medium", "weak")]
    samples = pd.concat(parts, ignore_index=True)
    own = samples[samples["question_id"] == question["question_id"]]
    return question["question"], [list(steps) for steps in own["steps"] if len(steps)][:count], "samples of the demo's policies"
