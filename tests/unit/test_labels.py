from collections import Counter
from pathlib import Path
from random import Random

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pqm.labels.monte_carlo as monte_carlo
from pqm.io import formats
from pqm.io.shard_cache import ShardCache
from pqm.labels.monte_carlo import LabelSources, MonteCarloLabeller, Outcome, StepLabeller
from pqm.models.sampling.engine import Sample
from pqm.solution_format import SolutionFormat
from pqm.study.labels import LabelsConfig

QUESTION = "q"


def asked(given_solutions):
    """Solutions of a question."""
    return [(QUESTION, steps) for steps in given_solutions]


class Script:
    """Completes prefixes of a question by a rule of (steps, number of the completion), and counts the completions."""

    def __init__(self, rule):
        self.rule = rule
        self.draws = Counter()

    def __call__(self, prefixes, count, first):
        assert len(set(prefixes)) == len(prefixes)
        groups = []
        for _, prefix in prefixes:
            numbers = range(first, first + count)
            self.draws.update((prefix, number) for number in numbers)
            groups.append([Outcome(self.rule(prefix, number), tokens=len(prefix) + number) for number in numbers])
        return groups

    @property
    def prefixes(self):
        return {prefix for prefix, _ in self.draws}


def coin(share):
    """Right or wrong at random, the same in every call."""
    return lambda prefix, number: Random(f"{prefix} {number}").random() < share


def right_before(first_miss):
    """Each prefix with fewer steps than `first_miss` has one right completion; longer ones have none."""
    return lambda prefix, number: len(prefix) < first_miss and number == len(prefix) % 4


def labeller(rule, completions=4, early_stop=False):
    script = Script(rule)
    return script, StepLabeller(script, completions, early_stop)


solution = st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=6).map(tuple)
solutions = st.lists(solution, min_size=1, max_size=5, unique=True)
SEARCHES = ("every-step", "binary")


def search(one, kind, given_solutions):
    (one.binary if kind == "binary" else one.every_step)(asked(given_solutions))


def hard(one, kind, given_solutions, correct=True):
    search(one, kind, given_solutions)
    return [one.labels((QUESTION, steps), correct, kind)["labels"] for steps in given_solutions]


def test_counts_hits_and_labels_of_each_step():
    hits = {("a",): 3, ("a", "b"): 1, ("a", "b", "c"): 0}
    script, one = labeller(lambda prefix, number: number < hits[prefix], completions=4)
    steps = ("a", "b", "c", "d")
    one.every_step(asked([steps]))
    assert one.labels((QUESTION, steps), False, "every-step") == {
        "labels": [1.0, 1.0, 0.0, 0.0],
        "soft_labels": [0.75, 0.25, 0.0, 0.0],
        "hits": [3, 1, 0, 0],
        "counts": [4, 4, 4, 1],
    }
    assert script.prefixes == set(hits)


def test_tokens_of_all_completions_are_counted():
    _, one = labeller(coin(0.5), completions=3)
    one.every_step(asked([("a", "b", "c")]))
    assert one.estimates[QUESTION, ("a",)].tokens == 1 + 2 + 3
    assert one.estimates[QUESTION, ("a", "b")].tokens == 2 + 3 + 4


@pytest.mark.parametrize("kind", SEARCHES)
@pytest.mark.parametrize("correct", [True, False])
@settings(max_examples=40, deadline=None)
@given(given_solutions=solutions, share=st.sampled_from([0.0, 0.3, 1.0]))
def test_last_step_is_labelled_by_the_solutions_own_grade(kind, correct, given_solutions, share):
    _, one = labeller(coin(share))
    search(one, kind, given_solutions)
    for steps in given_solutions:
        made = one.labels((QUESTION, steps), correct, kind)
        assert made["labels"][-1] == made["soft_labels"][-1] == float(correct)
        assert (made["hits"][-1], made["counts"][-1]) == (int(correct), 1)
        assert {len(values) for values in made.values()} == {len(steps)}


@pytest.mark.parametrize("early_stop", [False, True])
@pytest.mark.parametrize("kind", SEARCHES)
@settings(max_examples=40, deadline=None)
@given(given_solutions=solutions)
def test_no_completion_is_drawn_twice(kind, early_stop, given_solutions):
    script, one = labeller(coin(0.4), early_stop=early_stop)
    search(one, kind, given_solutions)
    search(one, kind, given_solutions)
    assert set(script.draws.values()) <= {1}
    proper = {steps[:end] for steps in given_solutions for end in range(1, len(steps))}
    assert script.prefixes <= proper
    if kind == "every-step":
        assert script.prefixes == proper


@settings(max_examples=40, deadline=None)
@given(given_solutions=solutions, share=st.sampled_from([0.0, 0.2, 0.6, 1.0]))
def test_every_prefix_is_completed_as_often_as_asked(given_solutions, share):
    script, one = labeller(coin(share), completions=5)
    one.every_step(asked(given_solutions))
    for (_, prefix), estimate in one.estimates.items():
        drawn = [number for asked, number in script.draws if asked == prefix]
        assert sorted(drawn) == [0, 1, 2, 3, 4]
        assert estimate.count == 5
        assert estimate.hits == sum(coin(share)(prefix, number) for number in range(5))


@settings(max_examples=40, deadline=None)
@given(given_solutions=solutions, share=st.sampled_from([0.0, 0.2, 0.6, 1.0]))
def test_soft_labels_are_hits_over_counts(given_solutions, share):
    _, one = labeller(coin(share), completions=5)
    one.every_step(asked(given_solutions))
    for steps in given_solutions:
        made = one.labels((QUESTION, steps), True, "every-step")
        assert made["soft_labels"] == [hit / count for hit, count in zip(made["hits"], made["counts"])]
        assert made["labels"] == [float(hit > 0) for hit in made["hits"]]


@settings(max_examples=60, deadline=None)
@given(given_solutions=solutions, share=st.sampled_from([0.0, 0.2, 0.6, 1.0]))
def test_early_stop_gives_the_same_hard_labels_for_fewer_completions(given_solutions, share):
    full_script, full = labeller(coin(share), completions=6)
    early_script, early = labeller(coin(share), completions=6, early_stop=True)
    assert hard(early, "every-step", given_solutions) == hard(full, "every-step", given_solutions)
    assert set(early_script.draws) <= set(full_script.draws)
    for (_, prefix), estimate in early.estimates.items():
        wins = [number for number in range(6) if coin(share)(prefix, number)]
        assert estimate.count == (wins[0] + 1 if wins else 6)
        assert estimate.hits == (1 if wins else 0)


def test_early_stop_saves_completions():
    full_script, full = labeller(coin(0.9), completions=8)
    early_script, early = labeller(coin(0.9), completions=8, early_stop=True)
    steps = [tuple("abcdefgh")]
    hard(full, "every-step", steps)
    hard(early, "every-step", steps)
    assert sum(full_script.draws.values()) == 7 * 8
    assert sum(early_script.draws.values()) < 7 * 3


@settings(max_examples=80, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=3, unique=True),
    first_miss=st.integers(1, 10),
    early_stop=st.booleans(),
)
def test_binary_search_gives_the_labels_of_every_step_where_hits_never_return(lengths, first_miss, early_stop):
    given_solutions = [tuple(f"{length} {place}" for place in range(length)) for length in lengths]
    _, every = labeller(right_before(first_miss))
    script, binary = labeller(right_before(first_miss), early_stop=early_stop)
    assert hard(binary, "binary", given_solutions) == hard(every, "every-step", given_solutions)
    for steps in given_solutions:
        tried = [prefix for prefix in script.prefixes if steps[: len(prefix)] == prefix]
        assert len(tried) <= max(0, (len(steps) - 1).bit_length())


def test_binary_search_completes_fewer_prefixes():
    steps = tuple("abcdefghijklmnop")
    every_script, every = labeller(right_before(11))
    binary_script, binary = labeller(right_before(11))
    assert hard(binary, "binary", [steps]) == hard(every, "every-step", [steps])
    assert len(every_script.prefixes) == 15
    assert len(binary_script.prefixes) <= 4


def test_binary_search_leaves_untried_steps_without_counts():
    steps = tuple("abcdefgh")
    script, one = labeller(right_before(3), completions=4)
    one.binary(asked([steps]))
    made = one.labels((QUESTION, steps), False, "binary")
    tried = {len(prefix) for prefix in script.prefixes}
    assert [count > 0 for count in made["counts"]] == [end in tried or end == 8 for end in range(1, 9)]
    for place, count in enumerate(made["counts"]):
        assert made["soft_labels"][place] == (made["hits"][place] / count if count else made["labels"][place])
    assert 0 in made["counts"]


def test_solutions_share_the_prefixes_they_have_in_common():
    script, one = labeller(coin(0.5), completions=4)
    one.every_step(asked([("a", "b", "c"), ("a", "b", "d"), ("a", "x")]))
    assert script.prefixes == {("a",), ("a", "b")}
    assert sum(script.draws.values()) == 8


@pytest.mark.parametrize("kind", SEARCHES)
@pytest.mark.parametrize("early_stop", [False, True])
@settings(max_examples=30, deadline=None)
@given(of_questions=st.lists(solutions, min_size=1, max_size=4))
def test_questions_are_labelled_together_as_alone(kind, early_stop, of_questions):
    def complete(prefixes, count, first):
        calls.append(len(prefixes))
        return [[Outcome(coin(0.4)(one, number), 1) for number in range(first, first + count)] for one in prefixes]

    def labelled(some):
        one = StepLabeller(complete, 3, early_stop)
        (one.binary if kind == "binary" else one.every_step)(some)
        return {solution: one.labels(solution, True, kind) for solution in some}

    calls = []
    alone = [labelled([(str(name), steps) for steps in group]) for name, group in enumerate(of_questions)]
    most = max(len(steps) for group in of_questions for steps in group) - 1
    calls = []
    together = labelled([(str(name), steps) for name, group in enumerate(of_questions) for steps in group])
    assert together == {solution: labels for one in alone for solution, labels in one.items()}
    rounds = most.bit_length() if kind == "binary" else min(most, 1)
    assert len(calls) <= rounds * (3 if early_stop else 1)


# ---------------------------------------------------------------- completions are judged together with their prefix


class Scripted:
    """An engine that continues each prompt as a rule says: (text, finish reason)."""

    name = "made up"

    def __init__(self, rule):
        self.rule = rule

    def sample(self, requests, temperature, max_new_tokens, seed, rows=None):
        return [
            [Sample(n_tokens=1, text=text, finish_reason=reason) for text, reason in [self.rule(one.prompt)] * one.samples]
            for one in requests
        ]


@pytest.fixture
def label_with(tmp_path, monkeypatch):
    """Label one solution of a question whose answer is 5, sampled once or more often, completed by a rule of the prompt."""

    def label(steps, rule, search="every-step", form=None, ends=("stop",)):
        form = form or SolutionFormat()
        question = {"question_id": "q", "question": "2 + 3, the answer is 4?", "answer": "5", "cluster": "q", "perturbation": ""}
        formats.write(pd.DataFrame([question | {"solution": []}]), formats.QUESTIONS, tmp_path / "questions.parquet")
        rollout = {"question_id": "q", "steps": steps, "text": "".join(step + form.step_separator for step in steps)}
        rollout |= {"n_tokens": 1, "log_likelihood": 0.0, "seed": 0, "engine": "made up"}
        rollouts = [rollout | {"sample_id": number, "finish_reason": end} for number, end in enumerate(ends)]
        formats.write(pd.DataFrame(rollouts), formats.ROLLOUTS, tmp_path / "rollouts.parquet")
        monkeypatch.setattr(monte_carlo, "load_policy", lambda *_: (Scripted(rule), form))
        config = LabelsConfig(
            dataset="d", policies=("p",), completer="c", completions=2, temperature=1.0, max_new_tokens=9, search=search,
            questions_per_batch=1, seed=0,
        )  # fmt: skip
        sources = LabelSources(tmp_path, tmp_path / "questions.parquet", {"p": tmp_path / "rollouts.parquet"})
        cache = ShardCache(tmp_path / "cache", "labels", Path("labels.parquet"), [], [])
        made = MonteCarloLabeller(config, sources).label(cache)
        cache.finish()
        [labels] = made["labels"]
        return labels

    return label


def stops(prompt):
    return "", "stop"


CHECKED = ["2 + 3 = 5", "The answer is: 5", "(checked)"]


def completes_the_first_step(prompt):
    return ("The answer is: 5\n", "stop") if prompt.endswith("= 5\n") else stops(prompt)


@pytest.mark.parametrize("search", SEARCHES)
def test_a_prefix_that_states_the_right_answer_needs_no_more_text(label_with, search):
    assert label_with(CHECKED, completes_the_first_step, search) == [1, 1, 1]


@pytest.mark.parametrize(
    ("steps", "wanted"),
    [
        (["\\boxed{5}", "so it is.", "Done."], [1, 1, 1]),
        (["The answer is: 4", "The answer is: 5", "ok"], [0, 1, 1]),
        (["#### 5", "The answer is: 4", "ok"], [1, 0, 0]),
        (["nothing stated", "ok", "#### 5"], [0, 0, 1]),
    ],
)
def test_the_answer_that_the_prefix_states_last_counts_if_the_completion_states_none(label_with, steps, wanted):
    assert label_with(steps, stops) == wanted
    assert label_with(steps, lambda prompt: ("No more steps.\n", "stop")) == wanted


def test_the_answer_of_the_completion_counts_after_that_of_the_prefix(label_with):
    assert label_with(CHECKED, lambda prompt: ("The answer is: 4\n", "stop")) == [0, 0, 1]
    assert label_with(["The answer is: 4", "ok", "#### 5"], lambda prompt: ("The answer is: 5\n", "stop")) == [1, 1, 1]


def test_an_answer_may_begin_in_the_prefix_and_end_in_the_completion(label_with):
    assert label_with(["The answer is", "5"], lambda prompt: ("5\n", "stop")) == [1, 1]


def test_a_truncated_completion_is_wrong_whatever_its_prefix_states(label_with):
    assert label_with(CHECKED, lambda prompt: ("The answer is: 5 and", "length")) == [0, 0, 1]


def test_the_answer_that_a_question_states_is_not_the_prefixs(label_with):
    form = SolutionFormat(
        question_template="Q: {question} The answer is: 5\n", step_heading="Step {number}: ", step_separator="\n"
    )
    assert label_with(["Step 1: 2 + 3 = 5", "Step 2: so #### 5", "Step 3: (checked)"], stops, form=form) == [0, 1, 1]


@pytest.mark.parametrize("ends", [("stop",), ("stop", "length"), ("length", "stop"), ("length", "length", "stop")])
def test_a_solution_that_was_sampled_whole_and_truncated_is_a_whole_one(label_with, ends):
    assert label_with(CHECKED, stops, ends=ends) == [0, 1, 1]
    assert label_with(CHECKED, stops, ends=("length", "length")) == [0, 1, 0]
