import re
from dataclasses import replace
from itertools import islice
from random import Random

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pqm.problems.corpus import IGNORED, Corpus
from pqm.problems.tokenizer import END, PAD, word_problem_tokenizer
from pqm.problems.word_problem_text import ERRORS, WordProblemExamples, quotes, solution_with_errors, worked_solution
from pqm.problems.word_problems import (
    DAYS,
    LARGEST_VALUE,
    NOUNS,
    PERTURBATIONS,
    distract,
    finish,
    parse_problem,
    random_problem,
    step_truth,
)
from pqm.study.pretraining import CurriculumStage, Phase

seeds = st.integers(0, 2**32)
fact_counts = st.integers(1, 7)
TOKENIZER = word_problem_tokenizer()
WORDS = TOKENIZER.get_vocab()


def problem_of(seed, facts, distraction=False):
    return random_problem(Random(seed), facts, distraction)


def steps_and_errors(solution):
    """The written steps, and whether each contains a wrong word."""
    steps, errors, words, error = [], [], [], False
    for word, right in zip(solution.words, solution.right):
        if word == "\n":
            steps.append(" ".join(words))
            errors.append(error)
            words, error = [], False
        else:
            words.append(word)
            error |= not right
    assert words == [END]
    return steps, errors


def ids(text):
    return TOKENIZER(text, add_special_tokens=False)["input_ids"]


@settings(max_examples=150, deadline=None)
@given(seeds, fact_counts, st.booleans())
def test_question_text_contains_the_whole_problem(seed, facts, distraction):
    problem = problem_of(seed, facts, distraction)
    assert parse_problem(problem.question) == problem


@settings(max_examples=150, deadline=None)
@given(seeds, fact_counts, st.booleans())
def test_worked_solution_is_right_in_every_step(seed, facts, distraction):
    problem = problem_of(seed, facts, distraction)
    steps = problem.solution
    assert len(steps) == facts
    assert step_truth(problem.question, steps) == [True] * facts
    assert steps[-1].endswith(f" , answer {problem.answer}")
    assert all(" answer " not in step for step in steps[:-1])


@settings(max_examples=100, deadline=None)
@given(seeds, fact_counts, st.booleans())
def test_equations_of_a_worked_solution_hold_and_continue_each_other(seed, facts, distraction):
    problem = problem_of(seed, facts, distraction)
    value = problem.start
    for step in problem.solution:
        left, operator, right, result = re.search(r"(\d+) ([-+x/]) (\d+) = (\d+)", step).groups()
        assert int(left) == value
        value = {"+": int.__add__, "-": int.__sub__, "x": int.__mul__, "/": int.__floordiv__}[operator](int(left), int(right))
        assert int(result) == value
        assert 1 <= value <= LARGEST_VALUE
    assert value == problem.answer


@settings(max_examples=100, deadline=None)
@given(seeds, fact_counts, st.booleans())
def test_steps_quote_sentences_of_the_question_day_by_day(seed, facts, distraction):
    problem = problem_of(seed, facts, distraction)
    sentences = problem.question.split(" . ")
    quoted = [step.split(" , ")[0] for step in problem.solution]
    assert set(quoted) <= set(sentences)
    assert [quote.split(" ")[0] for quote in quoted] == list(DAYS[:facts])
    nouns = [quote.split(" ")[1] for quote in quoted]
    assert len(set(nouns)) == facts


@pytest.mark.parametrize("text", ["", "what is 2 + 2 ?", "ana has many coins . how many coins ?", "ana has 7 coins"])
def test_other_texts_are_no_problems(text):
    with pytest.raises(ValueError, match="not a problem"):
        parse_problem(text)


@settings(max_examples=100, deadline=None)
@given(seeds, st.integers(2, 6))
def test_another_quote_with_the_right_numbers_is_harmless(seed, facts):
    problem = problem_of(seed, facts)
    place = seed % facts
    steps = list(problem.solution)
    quote, rest = steps[place].split(" , ", 1)
    day, noun, verb, number = quote.split(" ")
    other = next(name for name in NOUNS if name != noun)
    steps[place] = f"{day} {other} {verb} {number} , {rest}"
    assert step_truth(problem.question, steps) == [True] * facts


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9))
def test_order_of_two_sums_is_harmless(start, first, second):
    question = f"ana has {start} coins . tuesday bus brings {second} . monday aunt gives {first} . how many coins ?"
    middle, total = start + second, start + first + second
    steps = [
        f"tuesday bus brings {second} , {start} + {second} = {middle}",
        f"monday aunt gives {first} , {middle} + {first} = {total} , answer {total}",
    ]
    assert step_truth(question, steps) == [True, True]


def test_order_of_facts_that_do_not_commute_is_wrong():
    question = "ana has 5 coins . monday aunt gives 3 . tuesday magic times 2 . how many coins ?"
    steps = ["tuesday magic times 2 , 5 x 2 = 10", "monday aunt gives 3 , 10 + 3 = 13 , answer 13"]
    assert step_truth(question, steps) == [False, False]


QUESTION = (
    "ana has 7 coins . wednesday magic times 2 . monday aunt gives 8 . ben has 4 coins . tuesday bus costs 3 . how many coins ?"
)
RIGHT = [
    "monday aunt gives 8 , 7 + 8 = 15",
    "tuesday bus costs 3 , 15 - 3 = 12",
    "wednesday magic times 2 , 12 x 2 = 24 , answer 24",
]


@pytest.mark.parametrize(
    "steps, truth",
    [
        (RIGHT, [True, True, True]),
        (RIGHT[:2], [True, False]),
        ([RIGHT[0], RIGHT[1] + " , answer 12"], [True, False]),
        ([RIGHT[0] + " , answer 15"], [False]),
        ([*RIGHT[:2], RIGHT[2].replace("answer 24", "answer 23")], [True, True, False]),
        ([*RIGHT[:2], RIGHT[2].removesuffix(" , answer 24")], [True, True, False]),
        ([RIGHT[0], "monday aunt gives 8 , 15 + 8 = 23", *RIGHT[1:]], [True, False, False, False]),
        ([RIGHT[0].replace("= 15", "= 16"), *RIGHT[1:]], [False, False, False]),
        ([RIGHT[0], RIGHT[1].replace("15 - 3 = 12", "16 - 3 = 13"), RIGHT[2]], [True, False, False]),
        ([RIGHT[0], RIGHT[1].replace("15 - 3 = 12", "15 + 3 = 18"), RIGHT[2]], [True, False, False]),
        ([RIGHT[0], RIGHT[1].replace("15 - 3 = 12", "15 - 4 = 11"), RIGHT[2]], [True, False, False]),
        (["ben has 4 coins , 7 + 4 = 11", *RIGHT], [False, False, False, False]),
        ([*RIGHT, "so 24"], [True, True, True, False]),
        ([RIGHT[0], "so there are 15", *RIGHT[1:]], [True, False, False, False]),
        ([], []),
    ],
    ids=[
        "worked solution",
        "early stop",
        "early stop with an answer",
        "answer at once",
        "wrong answer number",
        "missing answer",
        "repeated fact",
        "wrong result carried over",
        "wrong value to start from",
        "wrong operator",
        "wrong operand",
        "somebody else's number",
        "words after the answer",
        "no equation",
        "no steps",
    ],
)
def test_truth_of_a_step(steps, truth):
    assert step_truth(QUESTION, steps) == truth


@settings(max_examples=100, deadline=None)
@given(seeds, st.integers(2, 6))
def test_stopping_early_is_wrong_at_the_last_step_only(seed, facts):
    problem = problem_of(seed, facts)
    for end in range(1, facts):
        steps = problem.solution[:end]
        assert step_truth(problem.question, steps) == [True] * (end - 1) + [False]
        value = steps[-1].rsplit(" ", 1)[1]
        assert step_truth(problem.question, [*steps[:-1], f"{steps[-1]} , answer {value}"]) == [True] * (end - 1) + [False]


@settings(max_examples=100, deadline=None)
@given(seeds, fact_counts, st.integers(1, LARGEST_VALUE))
def test_other_answer_numbers_are_wrong(seed, facts, number):
    problem = problem_of(seed, facts)
    assume(number != problem.answer)
    steps = [*problem.solution[:-1], re.sub(r"answer \d+", f"answer {number}", problem.solution[-1])]
    assert step_truth(problem.question, steps) == [True] * (facts - 1) + [False]


@settings(max_examples=100, deadline=None)
@given(seeds, st.integers(2, 6))
def test_using_a_fact_twice_is_wrong(seed, facts):
    problem = problem_of(seed, facts)
    first = problem.facts[0]
    assume([(fact.operator, fact.number) for fact in problem.facts].count((first.operator, first.number)) == 1)
    value = finish(problem.start, [first])
    again = finish(value, [first])
    assume(again is not None)
    repeated = f"{first} , {value} {first.operator} {first.number} = {again}"
    steps = [problem.solution[0], repeated, *problem.solution[1:]]
    assert step_truth(problem.question, steps) == [facts > 1] + [False] * facts


@settings(max_examples=200, deadline=None)
@given(seeds, fact_counts, st.booleans(), st.sampled_from([0.1, 0.3, 1.0]))
def test_no_step_is_wrong_before_the_first_injected_error(seed, facts, distraction, chance):
    problem = problem_of(seed, facts, distraction)
    steps, errors = steps_and_errors(solution_with_errors(Random(seed + 1), problem, chance))
    truth = step_truth(problem.question, steps)
    assert truth == sorted(truth, reverse=True)
    first = errors.index(True) if any(errors) else len(errors)
    assert all(truth[:first])


def test_nearly_every_injected_error_makes_the_solution_wrong():
    injected = wrong = at_once = 0
    for seed in range(1500):
        problem = problem_of(seed, 3 + seed % 4, seed % 2 == 0)
        solution = solution_with_errors(Random(seed), problem, 0.3)
        solution.right = [right or word in NOUNS for word, right in zip(solution.words, solution.right)]  # nouns are wording
        steps, errors = steps_and_errors(solution)
        if any(errors):
            truth = step_truth(problem.question, steps)
            injected += 1
            wrong += not all(truth)
            at_once += not truth[errors.index(True)]
    assert injected > 1000
    assert wrong / injected > 0.95
    assert at_once / injected > 0.9


@settings(max_examples=50, deadline=None)
@given(seeds, fact_counts)
def test_solutions_without_injected_errors_are_the_worked_ones(seed, facts):
    problem = problem_of(seed, facts)
    plain, worked = solution_with_errors(Random(seed), problem, 0.0), worked_solution(problem)
    assert plain.words == worked.words
    assert all(plain.right)
    assert steps_and_errors(worked)[0] == problem.solution


@settings(max_examples=100, deadline=None)
@given(seeds, fact_counts)
def test_step_targets_are_the_truth_of_the_steps(seed, facts):
    problem = problem_of(seed, facts)
    solution = solution_with_errors(Random(seed), problem, 0.4)
    ends = [place for place, word in enumerate(solution.words) if word == "\n"]
    assert solution.steps_right(problem.question) == list(zip(ends, step_truth(problem.question, steps_and_errors(solution)[0])))


def test_a_wrong_noun_is_a_wrong_word_but_no_wrong_step():
    problem = problem_of(1, 4)
    found = 0
    for seed in range(300):
        solution = solution_with_errors(Random(seed), problem, 0.3)
        wrong = [word for word, right in zip(solution.words, solution.right) if not right]
        if wrong and set(wrong) <= set(NOUNS):
            found += 1
            assert all(fine for _, fine in solution.steps_right(problem.question))
    assert found > 5


def test_every_kind_of_error_is_injected():
    problem = parse_problem(QUESTION)
    texts = {" ".join(solution_with_errors(Random(seed), problem, 0.5).words) for seed in range(400)}
    patterns = {
        "fact": r"^(?!monday)",
        "noun": r"^monday (?!aunt)\w+ gives 8 , 7",
        "verb": r"^monday aunt (?!gives)",
        "quote": r"^monday aunt gives (?!8 )",
        "left": r", (?!7 )\d+ [-+x/]",
        "operator": r"gives 8 , 7 [-x/]",
        "right": r"gives 8 , 7 \+ (?!8 )",
        "result": r"7 \+ 8 = (?!15 )",
        "answer": r"^monday aunt gives 8 , 7 \+ 8 = 15 ,",
        "extra": r"= \d+ \n thursday",
    }
    assert set(patterns) == set(ERRORS)
    found = {kind for kind, pattern in patterns.items() if any(re.search(pattern, text) for text in texts)}
    assert found == set(ERRORS)


@settings(max_examples=50, deadline=None)
@given(seeds, fact_counts)
def test_quotes_contain_every_fact_once(seed, facts):
    problem = problem_of(seed, facts, distraction=True)
    steps, errors = steps_and_errors(quotes(Random(seed), problem))
    assert sorted(steps) == sorted(step.split(" , ")[0] for step in problem.solution)
    assert not any(errors)


@settings(max_examples=100, deadline=None)
@given(seeds, fact_counts, st.booleans(), st.booleans())
def test_tokenizer_is_lossless(seed, facts, distraction, injected):
    problem = problem_of(seed, facts, distraction)
    steps = steps_and_errors(solution_with_errors(Random(seed), problem, 0.3))[0] if injected else problem.solution
    for text in (problem.question, f"{problem.question}\n" + "\n".join(steps), "".join(f"{step}\n" for step in steps)):
        tokens = ids(text)
        assert TOKENIZER.decode(tokens) == text
        assert TOKENIZER.unk_token_id not in tokens
        assert len(tokens) == len(text.replace("\n", " \n ").split(" ")) - text.endswith("\n")


def test_tokenizer_survives_saving(tmp_path):
    TOKENIZER.save_pretrained(tmp_path)
    again = type(TOKENIZER).from_pretrained(tmp_path)
    text = f"{QUESTION}\n" + "\n".join(RIGHT)
    assert again(text, add_special_tokens=False)["input_ids"] == ids(text)
    assert again.decode(ids(text)) == text
    assert (again.eos_token_id, again.pad_token_id) == (WORDS[END], WORDS[PAD])


def test_end_and_padding_are_left_out_of_decoded_text():
    assert TOKENIZER.decode([*ids(RIGHT[0]), WORDS[END], WORDS[PAD]], skip_special_tokens=True) == RIGHT[0]


@settings(max_examples=60, deadline=None)
@given(seeds, st.integers(3, 6), st.sampled_from(sorted(PERTURBATIONS)))
def test_perturbed_problems_are_other_questions_that_can_be_solved(seed, facts, kind):
    problem = problem_of(seed, facts)
    perturbed = PERTURBATIONS[kind](Random(seed + 1), problem)
    assert perturbed.question != problem.question
    assert parse_problem(perturbed.question) == perturbed
    assert step_truth(perturbed.question, perturbed.solution) == [True] * len(perturbed.facts)
    nouns = {fact.noun for fact in problem.facts}
    if kind == "distraction insertion":
        assert perturbed.solution == problem.solution
        assert len(perturbed.question.split(" . ")) == len(problem.question.split(" . ")) + 1
    elif kind == "adding operation":
        assert perturbed.facts[:facts] == problem.facts
        assert len(perturbed.facts) == facts + 1
        assert perturbed.facts[-1].noun not in nouns
    else:
        assert re.sub(r"\d+", "0", perturbed.question) == re.sub(r"\d+", "0", problem.question)


@settings(max_examples=60, deadline=None)
@given(seeds, fact_counts)
def test_distraction_is_about_somebody_else(seed, facts):
    problem = distract(Random(seed), problem_of(seed, facts))
    assert problem.distraction.split(" ")[0] != problem.person
    assert replace(problem, distraction=None).answer == problem.answer


def corpus(facts=(1, 3), seed="7", excluded=frozenset(), curriculum=(), **errors):
    phase = Phase(steps=1, learning_rate=1.0, facts=facts, curriculum=curriculum, **errors)
    return Corpus(WordProblemExamples(TOKENIZER, excluded, 0.2), seed, 1536, phase)


def questions_of(batches):
    texts = [TOKENIZER.decode(row) for batch in batches for row in batch.tokens.tolist()]
    return [text.split("\n")[0] for text in texts]


def test_excluded_questions_never_appear():
    questions = questions_of(islice(corpus(facts=(1, 1)).batches(), 30))
    excluded = frozenset(questions[::2])
    left = set(questions_of(islice(corpus(facts=(1, 1), excluded=excluded).batches(), 30)))
    assert len(left & set(questions)) > 100
    assert not left & excluded


@pytest.mark.parametrize("workers", [1, 3])
def test_the_text_is_the_same_for_any_number_of_workers(workers):
    stage = CurriculumStage(steps=5, facts=(1, 1))
    one, other = (replace(corpus(curriculum=(stage,)), workers=number).batches() for number in (0, workers))
    for batch, made_ahead in islice(zip(one, other), 150):  # several pools
        for name in ("tokens", "next_token", "token_targets", "step_targets"):
            np.testing.assert_array_equal(getattr(batch, name), getattr(made_ahead, name))
    other.close()  # ends the workers


def test_batches_come_from_the_seed_alone():
    first, again, other = (next(corpus(seed=seed).batches()).tokens.tolist() for seed in ("1", "1", "2"))
    assert first == again
    assert first != other


def test_batches_keep_the_token_budget():
    for batch in islice(corpus(facts=(1, 7)).batches(), 20):
        assert batch.tokens.size <= 1536
        assert batch.tokens.shape == batch.next_token.shape == batch.token_targets.shape == batch.step_targets.shape


def whole_rows(batches):
    """The tokens and targets of each row without padding, and the start of its solution."""
    line_end, end = WORDS["\n"], WORDS[END]
    for batch in batches:
        arrays = (batch.tokens, batch.next_token, batch.token_targets, batch.step_targets)
        for tokens, next_token, right, step in zip(*(array.tolist() for array in arrays)):
            length, begin = tokens.index(end) + 1, tokens.index(line_end) + 1
            assert set(next_token[length:]) | set(right[length:]) | set(step[length:]) <= {IGNORED}
            yield tokens[:length], next_token[:length], right[:length], step[:length], begin


def test_worked_solutions_are_learnt_word_by_word_up_to_the_end():
    for tokens, next_token, right, step, begin in whole_rows(islice(corpus().batches(), 5)):
        assert next_token == [IGNORED] * (begin - 1) + tokens[begin:] + [IGNORED]
        assert right == [IGNORED] * begin + [1] * (len(tokens) - begin)
        assert step == [1 if token == WORDS["\n"] and place >= begin else IGNORED for place, token in enumerate(tokens)]


def test_next_token_targets_leave_out_injected_errors():
    errors = 0
    for tokens, next_token, right, step, begin in whole_rows(
        islice(corpus(injected_error_share=1.0, injected_error_chance=0.5).batches(), 10)
    ):
        for place in range(begin, len(tokens)):
            errors += right[place] == 0
            assert right[place] in (0, 1)
            assert next_token[place - 1] == (tokens[place] if right[place] else IGNORED)
            if tokens[place] == WORDS["\n"]:
                assert step[place] in (0, 1) and (step[place] or 0 in right[begin : place + 1])
            else:
                assert step[place] == IGNORED
        assert set(next_token[: begin - 1]) <= {IGNORED}
    assert errors > 100


def kinds_of(batches):
    for tokens, _, right, _, begin in whole_rows(batches):
        yield "injected" if 0 in right else "worked" if WORDS["="] in tokens[begin:] else "quotes"


def test_injected_error_share_decides_how_many_solutions_have_errors():
    all_have_errors = list(kinds_of(islice(corpus(injected_error_share=1.0, injected_error_chance=1.0).batches(), 3)))
    # not all: an additional day is only possible in the last step
    assert all_have_errors.count("injected") / len(all_have_errors) > 0.9
    kinds = list(kinds_of(islice(corpus(injected_error_share=0.5, injected_error_chance=1.0).batches(), 20)))
    assert set(kinds) == {"injected", "worked"}
    assert kinds.count("injected") / len(kinds) == pytest.approx(0.5, abs=0.1)


def test_the_curriculum_comes_first_and_the_main_text_has_none_of_it():
    curriculum = (CurriculumStage(steps=2, facts=(1, 1), quotes_share=1.0), CurriculumStage(steps=3, facts=(2, 2)))
    taught = corpus(facts=(3, 3), curriculum=curriculum, injected_error_share=1.0, injected_error_chance=1.0)
    batches = list(islice(taught.batches(), 8))
    assert set(kinds_of(batches[:2])) == {"quotes"}
    assert set(kinds_of(batches[2:5])) == {"worked"}
    assert set(kinds_of(batches[5:])) == {"injected"}
    counts = [{len(parse_problem(question).facts) for question in questions_of([batch])} for batch in batches]
    assert counts == [{1}] * 2 + [{2}] * 3 + [{3}] * 3
    assert set(kinds_of(islice(taught.main_text(), 3))) == {"injected"}
