"""Training text from word problems: worked solutions, quoted facts, and solutions with injected errors."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from transformers import PreTrainedTokenizerFast

from pqm.problems.corpus import TextExample
from pqm.problems.tokenizer import END
from pqm.problems.word_problems import (
    DAYS,
    LARGEST_VALUE,
    NOUNS,
    OPERATORS,
    VERBS,
    WordProblem,
    apply,
    random_problem,
    step_truth,
)
from pqm.study.pretraining import CurriculumStage, Phase

# A wrong result is the most common error of models and the hardest to detect, so it is drawn four times as often as the others.
ERRORS = ("fact", "noun", "verb", "quote", "left", "operator", "right", "answer", "extra", "result", "result", "result", "result")


@dataclass
class Solution:
    """A solution.

    Attributes:
        words: its words.
        right: whether each word is right given the text before it.
    """

    words: list[str] = field(default_factory=list)
    right: list[bool] = field(default_factory=list)

    def write(self, text: str, right: bool = True) -> None:
        """Append the words of a text."""
        for word in text.split(" "):
            self.words.append(word)
            self.right.append(right)

    def close_step(self) -> None:
        """End a step."""
        self.write("\n")

    def steps_right(self, question: str) -> list[tuple[int, bool]]:
        """The position of each step's end, and whether all steps so far are right (see `step_truth`)."""
        steps = " ".join(self.words).removesuffix(f" {END}").split(" \n")
        places = [place for place, word in enumerate(self.words) if word == "\n"]
        return list(zip(places, step_truth(question, [step.strip() for step in steps[: len(places)]])))


def worked_solution(problem: WordProblem) -> Solution:
    """The problem's worked solution, with the end token."""
    solution = Solution()
    for step in problem.solution:
        solution.write(step)
        solution.close_step()
    solution.write(END)
    return solution


def quotes(random: Random, problem: WordProblem) -> Solution:
    """The problem's facts in random order instead of a solution, so that a fact can only be found by its content."""
    solution = Solution()
    for fact in random.sample(problem.facts, len(problem.facts)):
        solution.write(str(fact))
        solution.close_step()
    solution.write(END)
    return solution


def solution_with_errors(random: Random, problem: WordProblem, chance: float) -> Solution:
    """A solution with an error in each step with probability `chance`; later steps are consistent with the errors."""
    solution, value, place = Solution(), problem.start, 0
    while place < len(problem.facts):
        error = random.choice(ERRORS) if random.random() < chance else None
        value, place = _write_step(random, solution, problem, value, place, error)
        solution.close_step()
    solution.write(END)
    return solution


def _write_step(
    random: Random, solution: Solution, problem: WordProblem, value: int, place: int, error: str | None
) -> tuple[int, int]:
    """Write one step, with the answer if it is the last one, and return the next value and the index of the next fact.

    The written day determines the quoted fact. The equation is consistent with a wrong word of the quote.
    """
    fact = problem.facts[place]
    others = [other for other in problem.facts if other.day != fact.day]
    if error == "fact" and others:
        fact = random.choice(others)
        if random.random() < 0.5:
            place = max(place, problem.facts.index(fact))
        solution.write(fact.day, right=False)
    else:
        solution.write(fact.day)
    noun = _other(random, NOUNS, fact.noun) if error == "noun" else fact.noun
    solution.write(noun, right=noun == fact.noun)
    verb = _other(random, list(OPERATORS), fact.verb) if error == "verb" else fact.verb
    solution.write(verb, right=verb == fact.verb)
    number = _other_number(random, fact.number) if error == "quote" else fact.number
    solution.write(str(number), right=number == fact.number)
    solution.write(",")
    left = _other_number(random, value) if error == "left" else value
    solution.write(str(left), right=left == value)
    operator = _other(random, list(VERBS), OPERATORS[verb]) if error == "operator" else OPERATORS[verb]
    solution.write(operator, right=operator == OPERATORS[verb])
    right = _other_number(random, number) if error == "right" else number
    solution.write(str(right), right=right == number)
    solution.write("=")
    true_result = apply(left, operator, right)
    injected = error == "result"
    result = _other_result(random, left, right, true_result) if true_result is None or injected else true_result
    solution.write(str(result), right=result == true_result)
    last = place == len(problem.facts) - 1
    if error == "extra" and last and len(problem.facts) < len(DAYS):
        solution.close_step()
        _write_extra_step(random, solution, problem, result)
        return result, place + 1
    if error == "answer" and not last:
        solution.write(",", right=False)  # an answer before every fact was used
        solution.write(f"answer {result}")
        return result, len(problem.facts)
    if last:
        answer = _other_number(random, result) if error == "answer" else result
        solution.write(", answer")
        solution.write(str(answer), right=answer == result)
    return result, place + 1


def _write_extra_step(random: Random, solution: Solution, problem: WordProblem, value: int) -> None:
    """Instead of the answer, write a step for a day that the problem does not have, with a fact that was used before."""
    usable = [fact for fact in problem.facts if apply(value, fact.operator, fact.number) is not None]
    fact = random.choice(usable or problem.facts)
    result = apply(value, fact.operator, fact.number) or value
    solution.write(DAYS[len(problem.facts)], right=False)
    solution.write(f"{fact.noun} {fact.verb} {fact.number} , {value} {fact.operator} {fact.number} = {result} , answer {result}")


def _other_result(random: Random, left: int, right: int, result: int | None) -> int:
    """A wrong result: a number near the right one, or one of the operands."""
    operands = [number for number in (left, right) if number != result]
    return random.choice(operands) if operands and random.random() < 0.3 else _other_number(random, result)


def _other(random: Random, words: Sequence[str], word: str) -> str:
    return random.choice([other for other in words if other != word])


def _other_number(random: Random, number: int | None) -> int:
    """A wrong number, usually a near one."""
    while True:
        near = number is not None and random.random() < 0.6
        other = (
            number + random.choice((-10, -3, -2, -1, 1, 2, 3, 10))
            if near and number is not None
            else random.randint(1, LARGEST_VALUE)
        )
        if other != number and 1 <= other <= LARGEST_VALUE:
            return other


@dataclass(frozen=True)
class WordProblemExamples:
    """Generates examples from random word problems, without the `excluded` questions.

    Attributes:
        excluded: questions to avoid.
        distraction_share: share of the problems with a distraction.
        step_separator: the token at the end of each step.
    """

    tokenizer: PreTrainedTokenizerFast
    excluded: frozenset[str]
    distraction_share: float
    step_separator: str = "\n"

    def example(self, random: Random, part: Phase | CurriculumStage) -> TextExample:
        """A new problem with a solution of a kind that `part` sets."""
        assert part.facts is not None, "settings for word problems contain facts"
        while True:
            problem = random_problem(random, random.randint(*part.facts), random.random() < self.distraction_share)
            if problem.question not in self.excluded:
                break
        kind = random.random()
        if isinstance(part, CurriculumStage):
            solution = quotes(random, problem) if kind < part.quotes_share else worked_solution(problem)
        else:
            solution = (
                solution_with_errors(random, problem, part.injected_error_chance)
                if kind < part.injected_error_share
                else worked_solution(problem)
            )
        vocabulary = self.tokenizer.get_vocab()
        question = [*problem.question.split(" "), "\n"]
        return TextExample(
            [vocabulary[word] for word in question],
            [vocabulary[self.step_separator if word == "\n" else word] for word in solution.words],
            solution.right,
            solution.steps_right(problem.question),
        )
