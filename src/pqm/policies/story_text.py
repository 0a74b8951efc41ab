"""Training text of stories: worked solutions, quoted facts, and solutions with planted slips."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from transformers import PreTrainedTokenizerFast

from pqm.config import Lesson, Phase
from pqm.policies.corpus import Example
from pqm.policies.tokenizer import END
from pqm.questions.stories import DAYS, LARGEST_VALUE, NOUNS, OPERATORS, VERBS, Story, apply, random_story, step_truth

# A wrong result, what models write most and what is hardest to see, comes as often as the four other numbers together.
SLIPS = ("fact", "noun", "verb", "quote", "left", "operator", "right", "answer", "extra", "result", "result", "result", "result")


@dataclass
class Solution:
    """The words of a solution; `right` says of each word whether it is right given what stands before it."""

    words: list[str] = field(default_factory=list)
    right: list[bool] = field(default_factory=list)

    def write(self, text: str, right: bool = True) -> None:
        for word in text.split(" "):
            self.words.append(word)
            self.right.append(right)

    def close_step(self) -> None:
        self.write("\n")

    def step_marks(self, question: str) -> list[tuple[int, bool]]:
        """The place of each step's end, and whether no step was wrong so far, as `step_truth` has it."""
        steps = " ".join(self.words).removesuffix(f" {END}").split(" \n")
        places = [place for place, word in enumerate(self.words) if word == "\n"]
        return list(zip(places, step_truth(question, [step.strip() for step in steps[: len(places)]])))


def worked_solution(story: Story) -> Solution:
    """The story's own solution, and the end token."""
    solution = Solution()
    for step in story.solution:
        solution.write(step)
        solution.close_step()
    solution.write(END)
    return solution


def quotes(random: Random, story: Story) -> Solution:
    """No solution, but the story's facts quoted in random order: what is quoted can only be found by its content."""
    solution = Solution()
    for fact in random.sample(story.facts, len(story.facts)):
        solution.write(str(fact))
        solution.close_step()
    solution.write(END)
    return solution


def slipped_solution(random: Random, story: Story, chance: float) -> Solution:
    """A solution with a slip in each step with probability `chance`, carried on consistently after it."""
    solution, value, place = Solution(), story.start, 0
    while place < len(story.facts):
        slip = random.choice(SLIPS) if random.random() < chance else None
        value, place = _write_step(random, solution, story, value, place, slip)
        solution.close_step()
    solution.write(END)
    return solution


def _write_step(random: Random, solution: Solution, story: Story, value: int, place: int, slip: str | None) -> tuple[int, int]:
    """Write one step, its answer included where it is the last; return the value and the place after it.

    The day that is written decides which fact is quoted; a wrong word of the quote is carried on into the equation.
    """
    fact = story.facts[place]
    others = [other for other in story.facts if other.day != fact.day]
    if slip == "fact" and others:
        fact = random.choice(others)
        if random.random() < 0.5:
            place = max(place, story.facts.index(fact))
        solution.write(fact.day, right=False)
    else:
        solution.write(fact.day)
    noun = _other(random, NOUNS, fact.noun) if slip == "noun" else fact.noun
    solution.write(noun, right=noun == fact.noun)
    verb = _other(random, list(OPERATORS), fact.verb) if slip == "verb" else fact.verb
    solution.write(verb, right=verb == fact.verb)
    number = _other_number(random, fact.number) if slip == "quote" else fact.number
    solution.write(str(number), right=number == fact.number)
    solution.write(",")
    left = _other_number(random, value) if slip == "left" else value
    solution.write(str(left), right=left == value)
    operator = _other(random, list(VERBS), OPERATORS[verb]) if slip == "operator" else OPERATORS[verb]
    solution.write(operator, right=operator == OPERATORS[verb])
    right = _other_number(random, number) if slip == "right" else number
    solution.write(str(right), right=right == number)
    solution.write("=")
    true_result = apply(left, operator, right)
    slipped = slip == "result"
    result = _other_result(random, left, right, true_result) if true_result is None or slipped else true_result
    solution.write(str(result), right=result == true_result)
    last = place == len(story.facts) - 1
    if slip == "extra" and last and len(story.facts) < len(DAYS):
        solution.close_step()
        _write_extra_step(random, solution, story, result)
        return result, place + 1
    if slip == "answer" and not last:
        solution.write(",", right=False)  # an answer before every fact was used
        solution.write(f"answer {result}")
        return result, len(story.facts)
    if last:
        answer = _other_number(random, result) if slip == "answer" else result
        solution.write(", answer")
        solution.write(str(answer), right=answer == result)
    return result, place + 1


def _write_extra_step(random: Random, solution: Solution, story: Story, value: int) -> None:
    """Instead of the answer a day that the story does not have, with a fact that was used before."""
    usable = [fact for fact in story.facts if apply(value, fact.operator, fact.number) is not None]
    fact = random.choice(usable or story.facts)
    result = apply(value, fact.operator, fact.number) or value
    solution.write(DAYS[len(story.facts)], right=False)
    solution.write(f"{fact.noun} {fact.verb} {fact.number} , {value} {fact.operator} {fact.number} = {result} , answer {result}")


def _other_result(random: Random, left: int, right: int, result: int | None) -> int:
    """A wrong result: near the right one, or one of the numbers that it is made from."""
    operands = [number for number in (left, right) if number != result]
    return random.choice(operands) if operands and random.random() < 0.3 else _other_number(random, result)


def _other(random: Random, words: Sequence[str], word: str) -> str:
    return random.choice([other for other in words if other != word])


def _other_number(random: Random, number: int | None) -> int:
    """A wrong number: most often a near one."""
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
class StoryText:
    """Stories that are not among the `excluded` questions, some of them with a distraction."""

    tokenizer: PreTrainedTokenizerFast
    excluded: frozenset[str]
    distraction_share: float

    def example(self, random: Random, part: Phase | Lesson) -> Example:
        """A story with a solution of the kind that `part` asks for."""
        assert part.facts is not None, "settings of stories name their facts"
        while True:
            story = random_story(random, random.randint(*part.facts), random.random() < self.distraction_share)
            if story.question not in self.excluded:
                break
        kind = random.random()
        if isinstance(part, Lesson):
            solution = quotes(random, story) if kind < part.quotes_share else worked_solution(story)
        else:
            solution = slipped_solution(random, story, part.slip_chance) if kind < part.slipped_share else worked_solution(story)
        vocabulary = self.tokenizer.get_vocab()
        question = [*story.question.split(" "), "\n"]
        return Example(
            [vocabulary[word] for word in question],
            [vocabulary[word] for word in solution.words],
            solution.right,
            solution.step_marks(story.question),
        )
