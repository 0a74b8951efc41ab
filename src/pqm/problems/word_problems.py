"""Arithmetic word problems for which every step of a solution can be checked.

A problem has a start value and some facts, one per day, listed in any order. A worked solution uses them day by day, one
step per fact. A step first quotes its fact and then computes, so that finding a fact means copying text:

    question   ana has 7 coins . tuesday bus costs 3 . monday aunt gives 8 . how many coins ?
    step 1     monday aunt gives 8 , 7 + 8 = 15
    step 2     tuesday bus costs 3 , 15 - 3 = 12 , answer 12

A problem may contain one sentence about another person (`ben has 4 coins .`), which no step needs.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from random import Random

from pqm.io.formats import NO_ERROR

PEOPLE = ("ana", "ben", "carl", "dina", "eva", "finn", "gina", "hugo", "ines", "jack", "kira", "liam")
ITEMS = ("coins", "cards", "shells", "books", "pens", "stars", "apples", "beads")
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
NOUNS = ("aunt", "bus", "magic", "market", "uncle", "bird", "school", "river", "friend", "shop", "storm", "wizard")
VERBS = {
    "+": ("gives", "brings", "adds", "sends", "pays"),
    "-": ("costs", "takes", "eats", "hides", "loses"),
    "x": ("times",),
    "/": ("splits",),
}
OPERATORS = {verb: operator for operator, verbs in VERBS.items() for verb in verbs}
LARGEST_NUMBER = 20
LARGEST_VALUE = 30

_START = re.compile(r"(\w+) has (\d+) (\w+)")
_FACT = re.compile(r"(\w+) (\w+) (\w+) (\d+)")
_STEP = re.compile(
    r"(?P<quote>.*?) , (?P<left>\d+) (?P<operator>[-+x/]) (?P<right>\d+) = (?P<result>\d+)(?: , answer (?P<answer>\d+))?"
)


def apply(value: int, operator: str, number: int) -> int | None:
    """`value operator number`, or None if the result is not a whole number from 1 to `LARGEST_VALUE`."""
    if operator == "/" and (number == 0 or value % number):
        return None
    result = {"+": value + number, "-": value - number, "x": value * number, "/": value // max(number, 1)}[operator]
    return result if 1 <= result <= LARGEST_VALUE else None


@dataclass(frozen=True)
class Fact:
    """One change of the running value: `day noun verb number`."""

    day: str
    noun: str
    verb: str
    number: int

    @property
    def operator(self) -> str:
        return OPERATORS[self.verb]

    def __str__(self) -> str:
        return f"{self.day} {self.noun} {self.verb} {self.number}"


@dataclass(frozen=True)
class WordProblem:
    """A word problem.

    Attributes:
        start: the start value.
        facts: the facts, day by day.
        told: the order of the facts in the question, as indices of `facts`.
        distraction: a sentence that no step needs.
        distraction_place: the number of facts before it.
    """

    person: str
    item: str
    start: int
    facts: tuple[Fact, ...]
    told: tuple[int, ...]
    distraction: str | None = None
    distraction_place: int = 0

    @property
    def question(self) -> str:
        sentences = [str(self.facts[index]) for index in self.told]
        if self.distraction:
            sentences.insert(self.distraction_place, self.distraction)
        body = " . ".join([f"{self.person} has {self.start} {self.item}", *sentences])
        return f"{body} . how many {self.item} ?"

    @property
    def answer(self) -> int:
        value = finish(self.start, self.facts)
        assert value is not None, "a problem is only built with a solution"
        return value

    @property
    def solution(self) -> list[str]:
        """The worked solution, one step per fact; the last step states the answer."""
        steps, value = [], self.start
        for fact in self.facts:
            result = apply(value, fact.operator, fact.number)
            assert result is not None
            steps.append(write_step(str(fact), value, fact.operator, fact.number, result))
            value = result
        steps[-1] += f" , answer {value}"
        return steps


def write_step(quote: str, left: int, operator: str, right: int, result: int) -> str:
    """The text of a step; the last step of a solution also contains ` , answer N`."""
    return f"{quote} , {left} {operator} {right} = {result}"


def finish(value: int, facts: Sequence[Fact]) -> int | None:
    """The value after all `facts` in order, or None if one of them cannot be applied."""
    for fact in facts:
        result = apply(value, fact.operator, fact.number)
        if result is None:
            return None
        value = result
    return value


@lru_cache(maxsize=1024)  # samples of a question are graded one after the other
def parse_problem(question: str) -> WordProblem:
    """Parse the text of a question.

    Raises:
        ValueError: the text is no word problem.
    """
    *sentences, asked = question.split(" . ")
    start = _START.fullmatch(sentences[0]) if sentences else None
    if start is None or asked != f"how many {start[3]} ?":
        raise ValueError(f"not a problem: {question!r}")
    facts: list[Fact] = []
    distraction, place = None, 0
    for sentence in sentences[1:]:
        fact = _FACT.fullmatch(sentence)
        if fact is not None and fact[3] in OPERATORS:
            facts.append(Fact(fact[1], fact[2], fact[3], int(fact[4])))
        elif distraction is None and _START.fullmatch(sentence):
            distraction, place = sentence, len(facts)
        else:
            raise ValueError(f"neither a fact nor a distraction: {sentence!r}")
    if len({fact.day for fact in facts} & set(DAYS)) != len(facts) or not facts:
        raise ValueError(f"expected facts, each on a different day: {question!r}")
    day_by_day = sorted(facts, key=lambda fact: DAYS.index(fact.day))
    told = tuple(day_by_day.index(fact) for fact in facts)
    return WordProblem(start[1], start[3], int(start[2]), tuple(day_by_day), told, distraction, place)


def step_truth(question: str, steps: Sequence[str]) -> list[bool]:
    """Whether each step of a solution is right; all steps after the first wrong one are wrong.

    A step is right if its equation holds, it starts from the running value, it uses a fact (operator and number) that no
    earlier step used, and the remaining facts, in order, still lead to the answer. The words are not checked, so a step may
    name another noun. Facts that commute may be used in another order. The last step must use the last remaining fact and
    state the value that it computed.

    Raises:
        ValueError: the question is no word problem.
    """
    problem = parse_problem(question)
    value, left, answer = problem.start, list(problem.facts), problem.answer
    truth: list[bool] = []
    for index, step in enumerate(steps):
        value_after = _follow(step, value, left, answer, is_last=index == len(steps) - 1)
        if value_after is None:
            break
        value = value_after
        truth.append(True)
    return truth + [False] * (len(steps) - len(truth))


def first_error(question: str, steps: Sequence[str]) -> int | None:
    """The index of the first wrong step, `NO_ERROR` if no step is wrong, or None if the question is no word problem."""
    try:
        truth = step_truth(question, steps)
    except ValueError:
        return None
    return truth.index(False) if False in truth else NO_ERROR


def _follow(step: str, value: int, left: list[Fact], answer: int, is_last: bool) -> int | None:
    """The value after a right step, or None for a wrong step. The fact that it uses is removed from `left`."""
    match = _STEP.fullmatch(step)
    if match is None or int(match["left"]) != value:
        return None
    operator, number, result = match["operator"], int(match["right"]), int(match["result"])
    if apply(value, operator, number) != result:
        return None
    for fact in [fact for fact in left if (fact.operator, fact.number) == (operator, number)]:
        rest = [other for other in left if other is not fact]
        if finish(result, rest) == answer:
            left[:] = rest
            break
    else:
        return None
    ends = match["answer"] is not None
    if ends and (left or int(match["answer"]) != result):
        return None
    if is_last and not ends:
        return None  # the solution ends without an answer
    return result


def random_fact(random: Random, value: int, earlier: Sequence[Fact]) -> Fact:
    """A fact for the day after `earlier` that can be applied to `value`, with a noun and a verb that are not in `earlier`.

    Sums and differences are drawn four times as often as x2 and /2.
    """
    nouns = [noun for noun in NOUNS if noun not in {fact.noun for fact in earlier}]
    used = {fact.verb for fact in earlier}
    while True:
        operator = random.choice("++++----x/")
        number = 2 if operator in "x/" else random.randint(1, LARGEST_NUMBER)
        verbs = [verb for verb in VERBS[operator] if verb not in used]
        if verbs and apply(value, operator, number) is not None:
            return Fact(DAYS[len(earlier)], random.choice(nouns), random.choice(verbs), number)


def random_problem(random: Random, facts: int, distraction: bool = False) -> WordProblem:
    """A random problem with `facts` facts (at most 7), all with different nouns and verbs."""
    start = random.randint(1, LARGEST_NUMBER)
    chosen: list[Fact] = []
    value = start
    for _ in range(facts):
        fact = random_fact(random, value, chosen)
        chosen.append(fact)
        value = finish(value, [fact]) or 0
    told = random.sample(range(facts), facts)
    problem = WordProblem(random.choice(PEOPLE), random.choice(ITEMS), start, tuple(chosen), tuple(told))
    return distract(random, problem) if distraction else problem


def distract(random: Random, problem: WordProblem) -> WordProblem:
    """The problem with a sentence about another person at a random place after the start."""
    person = random.choice([name for name in PEOPLE if name != problem.person])
    item = random.choice([problem.item, random.choice(ITEMS)])
    sentence = f"{person} has {random.randint(1, LARGEST_NUMBER)} {item}"
    return replace(problem, distraction=sentence, distraction_place=random.randint(0, len(problem.facts)))


def substitute_numbers(random: Random, problem: WordProblem) -> WordProblem:
    """The problem with other numbers, but the same person, nouns and verbs."""
    while True:
        start = random.randint(1, LARGEST_NUMBER)
        facts = tuple(
            fact if fact.operator in "x/" else replace(fact, number=random.randint(1, LARGEST_NUMBER)) for fact in problem.facts
        )
        if (start, facts) != (problem.start, problem.facts) and finish(start, facts) is not None:
            return replace(problem, start=start, facts=facts)


def add_operation(random: Random, problem: WordProblem) -> WordProblem:
    """The problem with one more fact on the next day, at a random place in the question."""
    fact = random_fact(random, problem.answer, problem.facts)
    told = list(problem.told)
    told.insert(random.randint(0, len(told)), len(problem.facts))
    return replace(problem, facts=(*problem.facts, fact), told=tuple(told))


PERTURBATIONS = {
    "numerical substitution": substitute_numbers,
    "distraction insertion": distract,
    "adding operation": add_operation,
}
