"""Arithmetic stories whose every reasoning step can be checked against the truth.

A story is a start and some facts, one a day, told in any order; a worked solution takes them day by day, one
step each. A step first quotes its fact and then computes, so that looking a fact up is a copy:

    question   ana has 7 coins . tuesday bus costs 3 . monday aunt gives 8 . how many coins ?
    step 1     monday aunt gives 8 , 7 + 8 = 15
    step 2     tuesday bus costs 3 , 15 - 3 = 12 , answer 12

A story may hold one sentence about somebody else (`ben has 4 coins .`), which no step needs.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

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
ALL_RIGHT = -1
LARGEST_VALUE = 30

_START = re.compile(r"(\w+) has (\d+) (\w+)")
_FACT = re.compile(r"(\w+) (\w+) (\w+) (\d+)")
_STEP = re.compile(
    r"(?P<quote>.*?) , (?P<left>\d+) (?P<operator>[-+x/]) (?P<right>\d+) = (?P<result>\d+)(?: , answer (?P<answer>\d+))?"
)


def apply(value: int, operator: str, number: int) -> int | None:
    """`value operator number`, or None where the result is not a whole number from 1 to `LARGEST_VALUE`."""
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
class Story:
    """A question together with what it takes to solve it: `facts` day by day, `told` the order they are told in."""

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
        assert value is not None, "a story is only built with a solution"
        return value

    @property
    def solution(self) -> list[str]:
        """The worked solution, one step a fact; the last step states the answer."""
        steps, value = [], self.start
        for fact in self.facts:
            result = apply(value, fact.operator, fact.number)
            assert result is not None
            steps.append(write_step(str(fact), value, fact.operator, fact.number, result))
            value = result
        steps[-1] += f" , answer {value}"
        return steps


def write_step(quote: str, left: int, operator: str, right: int, result: int) -> str:
    """A step's text; the last step of a solution goes on with ` , answer N`."""
    return f"{quote} , {left} {operator} {right} = {result}"


def finish(value: int, facts: Sequence[Fact]) -> int | None:
    """The value after all `facts` in order, or None where one of them cannot be applied."""
    for fact in facts:
        result = apply(value, fact.operator, fact.number)
        if result is None:
            return None
        value = result
    return value


def parse_story(question: str) -> Story:
    """Read a story back from its question text; ValueError where the text is not a story."""
    *sentences, asked = question.split(" . ")
    start = _START.fullmatch(sentences[0]) if sentences else None
    if start is None or asked != f"how many {start[3]} ?":
        raise ValueError(f"not a story: {question!r}")
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
        raise ValueError(f"expected facts, each on a day of its own: {question!r}")
    day_by_day = sorted(facts, key=lambda fact: DAYS.index(fact.day))
    told = tuple(day_by_day.index(fact) for fact in facts)
    return Story(start[1], start[3], int(start[2]), tuple(day_by_day), told, distraction, place)


def step_truth(question: str, steps: Sequence[str]) -> list[bool]:
    """Whether each step of a solution is right, in the sense of the first error.

    A step is right when its equation holds, it starts from the running value, it uses a fact (operator
    and number) that no earlier step used, and the facts then left, taken in order, still lead to the
    answer. Wording is not judged: a step that names another noun with the right numbers is a harmless
    detour, and so is another order of facts that commute. A step that ends the solution must have used
    every fact and state the value it computed. From the first wrong step on every step is wrong.
    """
    story = parse_story(question)
    value, left = story.start, list(story.facts)
    truth: list[bool] = []
    for index, step in enumerate(steps):
        value_after = _follow(step, value, left, story.answer, is_last=index == len(steps) - 1)
        if value_after is None:
            break
        value = value_after
        truth.append(True)
    return truth + [False] * (len(steps) - len(truth))


def first_error(question: str, steps: Sequence[str]) -> int | None:
    """The place of a solution's first wrong step, `ALL_RIGHT` where no step is wrong, None where the question is no story."""
    try:
        truth = step_truth(question, steps)
    except ValueError:
        return None
    return truth.index(False) if False in truth else ALL_RIGHT


def _follow(step: str, value: int, left: list[Fact], answer: int, is_last: bool) -> int | None:
    """The value after a right step (its fact is taken from `left`), or None for a wrong step."""
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
        return None  # the solution stops without an answer
    return result


def random_fact(random: Random, value: int, earlier: Sequence[Fact]) -> Fact:
    """A fact for the day after `earlier` that can be applied to `value`, in a noun and a verb that `earlier` do not use.

    Sums and differences are four times as frequent as x2 and /2.
    """
    nouns = [noun for noun in NOUNS if noun not in {fact.noun for fact in earlier}]
    used = {fact.verb for fact in earlier}
    while True:
        operator = random.choice("++++----x/")
        number = 2 if operator in "x/" else random.randint(1, LARGEST_NUMBER)
        verbs = [verb for verb in VERBS[operator] if verb not in used]
        if verbs and apply(value, operator, number) is not None:
            return Fact(DAYS[len(earlier)], random.choice(nouns), random.choice(verbs), number)


def random_story(random: Random, facts: int, distraction: bool = False) -> Story:
    """A story of `facts` facts (7 at most), no noun and no verb twice."""
    start = random.randint(1, LARGEST_NUMBER)
    chosen: list[Fact] = []
    value = start
    for _ in range(facts):
        fact = random_fact(random, value, chosen)
        chosen.append(fact)
        value = finish(value, [fact]) or 0
    told = random.sample(range(facts), facts)
    story = Story(random.choice(PEOPLE), random.choice(ITEMS), start, tuple(chosen), tuple(told))
    return distract(random, story) if distraction else story


def distract(random: Random, story: Story) -> Story:
    """The story with a sentence about somebody else at a random place after its start."""
    person = random.choice([name for name in PEOPLE if name != story.person])
    item = random.choice([story.item, random.choice(ITEMS)])
    sentence = f"{person} has {random.randint(1, LARGEST_NUMBER)} {item}"
    return replace(story, distraction=sentence, distraction_place=random.randint(0, len(story.facts)))


def substitute_numbers(random: Random, story: Story) -> Story:
    """The story with other numbers, same people, nouns and verbs."""
    while True:
        start = random.randint(1, LARGEST_NUMBER)
        facts = tuple(
            fact if fact.operator in "x/" else replace(fact, number=random.randint(1, LARGEST_NUMBER)) for fact in story.facts
        )
        if (start, facts) != (story.start, story.facts) and finish(start, facts) is not None:
            return replace(story, start=start, facts=facts)


def add_operation(random: Random, story: Story) -> Story:
    """The story with one more fact on the day after its last, told at a random place."""
    fact = random_fact(random, story.answer, story.facts)
    told = list(story.told)
    told.insert(random.randint(0, len(told)), len(story.facts))
    return replace(story, facts=(*story.facts, fact), told=tuple(told))


PERTURBATIONS = {
    "numerical substitution": substitute_numbers,
    "distraction insertion": distract,
    "adding operation": add_operation,
}
