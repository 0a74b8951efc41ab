"""Training text of GSM-Symbolic: injected errors, the text that is consistent with them, and the targets of the tokens."""

from itertools import islice
from random import Random

import numpy as np
import pytest

from pqm.errors import PqmError
from pqm.models.reward_model import Encoder
from pqm.problems import gsm_symbolic_text
from pqm.problems.corpus import IGNORED
from pqm.problems.equations import EQUATIONS, Equation
from pqm.problems.gsm_symbolic import Instance, instances
from pqm.problems.gsm_symbolic_text import (
    ANSWER,
    Step,
    SymbolicExamples,
    steps_with_errors,
    symbolic_tokenizer,
    worked_steps,
)
from pqm.solution_format import SolutionFormat
from pqm.study.pretraining import Phase, SymbolicText
from pqm.study.reading import load_study

SETTINGS = SymbolicText(kind="gsm-symbolic", templates=(0, 20), vocabulary=600)
JARS = Instance(
    4,
    "She has 12 jars. Each decorates 15 muffins. Each pan holds 10 muffins. How many pans for 90 guests?",
    "18",
    ("She has enough for 12 * 15 = 180 muffins.", "She needs 180 muffins / 10 muffins/pan = 18 pans.", "So 18 pans are needed."),
)


@pytest.fixture(scope="module", autouse=True)
def little_text():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gsm_symbolic_text, "TOKENIZER_INSTANCES", 300)
        yield


@pytest.fixture(scope="module")
def tokenizer(little_text):
    return symbolic_tokenizer(SETTINGS, 0)


def drawn(count, seed=1):
    return list(islice(instances(SETTINGS.templates, Random(seed)), count))


def wrong(steps: list[Step]) -> list[str]:
    """The characters of each step that are wrong given the text before them."""
    return ["".join(letter for letter, right in zip(step.text, step.right) if not right) for step in steps]


def test_the_last_step_states_the_answer():
    assert worked_steps(JARS) == [*JARS.solution[:2], f"So 18 pans are needed.{ANSWER}18"]


def test_with_chance_0_no_error_is_injected():
    for instance in drawn(50):
        steps = steps_with_errors(Random(1), instance, 0.0)
        assert [step.text for step in steps] == worked_steps(instance)
        assert all(all(step.right) for step in steps)


def test_every_equation_after_an_injected_error_holds_unless_it_has_an_error_itself():
    """The text after an error is consistent with it, so every other wrong number is a target of error detection."""
    seen = 0
    for instance in drawn(300):
        known = {match[0] for text in worked_steps(instance) for match in EQUATIONS.finditer(text)}
        for step in steps_with_errors(Random(2), instance, 0.4):
            for match in EQUATIONS.finditer(step.text):
                if match[0] not in known and all(step.right[match.start() : match.end()]):
                    assert Equation(match[0]).holds, step.text
                    seen += 1
    assert seen > 50


def test_a_changed_value_is_carried_on():
    texts = {tuple(step.text for step in steps_with_errors(Random(seed), JARS, 0.5)) for seed in range(400)}
    first, second, last = JARS.solution
    # The error is in an operand or an operator of the first step: its result is used in the second step and so changes the answer.
    assert ("She has enough for 12 + 15 = 27 muffins.", "She needs 27 muffins / 10 muffins/pan = 2.7 pans.", "So 2.7 pans are needed. #### 2.7") in texts  # fmt: skip
    assert (first, second, f"{last} #### 17") in texts


def test_characters_are_wrong_given_the_text_before_them():
    kinds = set()
    for seed in range(300):
        steps = steps_with_errors(Random(seed), JARS, 0.5)
        for found, step, true in zip(wrong(steps), steps, worked_steps(JARS)):
            kinds.add("operator" if found in list("+-*/") and found else "number" if found else "none")
            if step.text == true:
                assert not found
    assert kinds == {"operator", "number", "none"}


def test_a_value_with_two_meanings_does_not_change():
    """The first result is also a number of the question, so a later mention could mean either."""
    twice = Instance(
        0, "12 jars, 15 muffins each, 180 guests?", "0", ("12 * 15 = 180 muffins", "180 guests - 180 muffins = 0 are left")
    )
    for seed in range(100):
        assert steps_with_errors(Random(seed), twice, 1.0)[0].text == twice.solution[0]


def test_the_tokenizer_splits_numbers_and_loses_nothing(tokenizer):
    form = SolutionFormat()
    encoder = Encoder(tokenizer, form)
    for instance in drawn(40):
        text = form.prefix(instance.question, instance.solution)
        tokens = tokenizer(text)["input_ids"]
        assert tokenizer.decode(tokens) == text
        assert encoder(instance.question, instance.solution).tokens == tuple(tokens)
        assert not any(len(piece.strip()) > 1 for piece in map(tokenizer.decode, tokens) if any(map(str.isdigit, piece)))


def test_the_tokenizer_depends_on_its_settings_alone(tokenizer):
    assert symbolic_tokenizer(SETTINGS, 0).backend_tokenizer.to_str() == tokenizer.backend_tokenizer.to_str()


def phase(**errors):
    return Phase(steps=1, learning_rate=1.0, **errors)


def test_targets_of_worked_solutions(tokenizer):
    text = SymbolicExamples(tokenizer, frozenset(), SETTINGS)
    example = text.example(Random(1), phase())
    tokens, next_token, token_targets, step_targets = example.arrays()
    begin = len(example.question)
    assert tokenizer.decode(example.question).endswith("\n")
    assert (next_token[begin - 1 : -1] == tokens[begin:]).all() and next_token[-1] == IGNORED
    assert (next_token[: begin - 1] == IGNORED).all()
    assert (token_targets[begin:] == 1).all() and (token_targets[:begin] == IGNORED).all()
    places = np.flatnonzero(step_targets != IGNORED)
    assert (step_targets[places] == 1).all() and {tokenizer.decode([token]) for token in tokens[places]} == {"\n"}
    assert tokens[-1] == tokenizer.eos_token_id


def test_targets_of_injected_errors(tokenizer):
    """Wrong tokens are no targets of the language model; step targets are 0 from the first error on."""
    text = SymbolicExamples(tokenizer, frozenset(), SETTINGS)
    random, fallen = Random(3), 0
    for _ in range(100):
        example = text.example(random, phase(injected_error_share=1.0, injected_error_chance=0.5))
        _, next_token, token_targets, step_targets = example.arrays()
        begin = len(example.question)
        right = np.array(example.right)
        assert ((next_token[begin - 1 : -1] == IGNORED) == ~right).all()
        steps = step_targets[step_targets != IGNORED]
        assert (np.diff(steps) <= 0).all()
        assert (steps[-1] == 0) == (not right.all())
        if not right.all():
            first = int(np.flatnonzero(token_targets == 0)[0])
            ends = np.flatnonzero(step_targets != IGNORED)
            assert ((step_targets[ends] == 1) == (ends < first)).all()
            fallen += 1
    assert fallen > 50


def test_excluded_questions_never_come(tokenizer):
    few = SETTINGS.model_copy(update={"templates": (4, 4)})

    def questions(excluded):
        text, random = SymbolicExamples(tokenizer, excluded, few), Random(1)
        return {tokenizer.decode(text.example(random, phase()).question).strip() for _ in range(60)}

    excluded = frozenset(sorted(questions(frozenset()))[::2])
    assert excluded and not excluded & questions(excluded)


PRETRAINING = {
    "start": "language-model",
    "text": {"kind": "gsm-symbolic", "templates": [0, 79]},
    "phases": [{"steps": 1, "learning_rate": 1.0}],
    "snapshot_every": 1,
    "batch_tokens": 100,
    "excluded": ["test"],
    "validation": "validation",
    "seed": 0,
}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"text": {"kind": "word-problems"}}, "phase 1 needs facts"),
        ({"phases": [{"steps": 1, "learning_rate": 1.0, "facts": [1, 2]}]}, "the text is gsm-symbolic"),
        ({"distraction_share": 0.5}, "the text is gsm-symbolic"),
        ({"text": {"kind": "gsm-symbolic", "templates": [80, 79]}}, "[first, last]"),
        ({"text": {"kind": "novels"}}, "gsm-symbolic"),
        ({"text": {"kind": "gsm-symbolic", "templates": [0, 79], "vocabulary": 2048}}, "text.vocabulary"),
    ],
)
def test_settings_that_do_not_fit_the_text_are_refused(settings, change, words):
    load_study(settings("pretraining", "fine", **PRETRAINING)[0])
    with pytest.raises(PqmError) as refusal:
        load_study(settings("pretraining", **PRETRAINING | change)[0])
    assert words in str(refusal.value) and ": pretraining.tiny" in str(refusal.value)
