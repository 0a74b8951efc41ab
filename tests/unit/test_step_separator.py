"""The step separator of our own models: one token, in their training text, their format and their samples."""

from pathlib import Path
from random import Random
from typing import Any

import pytest

from pqm.errors import PqmError
from pqm.io.shard_cache import ShardCache
from pqm.models.reward_model import Encoder
from pqm.policies.pretraining import Pretrainer
from pqm.problems import gsm_symbolic_text
from pqm.problems.gsm_symbolic_text import SymbolicExamples, symbolic_tokenizer
from pqm.problems.tokenizer import word_problem_tokenizer
from pqm.problems.word_problem_text import WordProblemExamples
from pqm.problems.word_problems import random_problem
from pqm.solution_format import SolutionFormat
from pqm.study.pretraining import Architecture, Phase, PretrainingConfig, SymbolicText
from pqm.study.reading import load_study

SEPARATOR = ";;"
FORMAT = SolutionFormat(step_separator=SEPARATOR, step_token=SEPARATOR)
SYMBOLIC = SymbolicText(kind="gsm-symbolic", templates=(0, 20), vocabulary=600)
PHASE = Phase(steps=2, learning_rate=0.01, facts=(1, 2), injected_error_share=0.5, injected_error_chance=0.5)
PRETRAINING = PretrainingConfig(
    architecture=Architecture(
        hidden_size=32,
        intermediate_size=32,
        layers=2,
        heads=2,
        key_value_heads=1,
        max_positions=160,
        initializer_range=0.06,
        rope_theta=1000.0,
        attention_bias=0.0,
    ),
    phases=(PHASE,),
    snapshot_every=2,
    batch_tokens=256,
    excluded=("questions",),
    validation="questions",
    step_separator=SEPARATOR,
    max_new_tokens=4,
    seed=0,
)


def test_a_word_problem_is_read_and_written_without_loss():
    tokenizer = word_problem_tokenizer(SEPARATOR)
    closing = tokenizer.convert_tokens_to_ids(SEPARATOR)
    encoder = Encoder(tokenizer, FORMAT)
    for seed in range(50):
        problem = random_problem(Random(seed), 1 + seed % 7)
        text = FORMAT.prefix(problem.question, problem.solution)
        tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert tokenizer.decode(tokens) == text and tokenizer.unk_token_id not in tokens
        assert tokens.count(closing) == len(problem.solution)
        encoded = encoder(problem.question, problem.solution)
        assert encoded.tokens == tuple(tokens)
        assert [encoded.tokens[end] for end in encoded.step_ends] == [closing] * len(problem.solution)
        assert FORMAT.split(tokenizer.decode(encoded.tokens).partition("\n")[2]) == problem.solution


def test_the_text_of_word_problems_differs_in_the_separator_alone():
    plain, other = word_problem_tokenizer(), word_problem_tokenizer(SEPARATOR)
    line_end, closing = plain.convert_tokens_to_ids("\n"), other.convert_tokens_to_ids(SEPARATOR)
    for seed in range(30):
        one = WordProblemExamples(plain, frozenset(), 0.2).example(Random(seed), PHASE)
        two = WordProblemExamples(other, frozenset(), 0.2, SEPARATOR).example(Random(seed), PHASE)
        assert one.question == two.question and (one.right, one.steps_right) == (two.right, two.steps_right)
        assert [closing if token == line_end else token for token in one.solution] == list(two.solution)


def test_the_text_of_gsm_symbolic_has_the_separator_as_one_token(monkeypatch):
    monkeypatch.setattr(gsm_symbolic_text, "TOKENIZER_INSTANCES", 300)
    tokenizer = symbolic_tokenizer(SYMBOLIC, 0, SEPARATOR)
    closing = tokenizer.convert_tokens_to_ids(SEPARATOR)
    examples, phase = SymbolicExamples(tokenizer, frozenset(), SYMBOLIC, SEPARATOR), Phase(steps=1, learning_rate=1.0)
    for seed in range(20):
        example = examples.example(Random(seed), phase)
        assert [example.solution[place] for place, _ in example.steps_right] == [closing] * len(example.steps_right)
        assert list(example.solution).count(closing) == len(example.steps_right)
        question, solution = tokenizer.decode(example.question), tokenizer.decode(example.solution[:-1])
        encoded = Encoder(tokenizer, FORMAT)(question.removesuffix("\n"), FORMAT.split(solution))
        assert encoded.tokens == (*example.question, *example.solution[:-1])


def test_a_word_of_the_problems_is_refused():
    with pytest.raises(PqmError, match="step_separator 'answer'"):
        word_problem_tokenizer("answer")


@pytest.mark.parametrize("separator", ["", " ", "a b"])
def test_a_separator_with_spaces_is_refused(separator, settings):
    content = PRETRAINING.model_dump(mode="json") | {"step_separator": separator}
    with pytest.raises(PqmError, match=r"pretraining\.tiny\.step_separator: expected a text without spaces"):
        load_study(settings("pretraining", **content)[0])


def test_snapshots_keep_the_separator_and_a_start_must_have_the_same(tables: Any, tmp_path: Path):
    questions = {"questions": tables.questions}
    cache = ShardCache(tmp_path / "cache", "policies", tmp_path / "models", [PRETRAINING], [])
    Pretrainer(PRETRAINING, None, questions, cache).pretrain(tmp_path / "models")
    assert SolutionFormat.load(tmp_path / "models/phase-1-step-000002") == FORMAT
    again = PRETRAINING.model_copy(update={"architecture": None, "start": "first"})
    Pretrainer(again, tmp_path / "models", questions, cache)
    with pytest.raises(PqmError, match="step_separator"):
        Pretrainer(again.model_copy(update={"step_separator": "\n"}), tmp_path / "models", questions, cache)
