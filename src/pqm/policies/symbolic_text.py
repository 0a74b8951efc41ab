"""Training text of GSM-Symbolic: fresh instances with their worked solutions, and with planted slips.

The text is real sentences; its truth is known where slips were planted. Of a step the equations that hold are found
(`1400 carrot / 14 carrot/minute = 100 minutes`); a slip changes an operand, an operator or a result, and what was computed from it
goes on consistently: later mentions of the value change with it, later results are computed anew.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice
from random import Random

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from pqm.config import Lesson, Phase, SymbolicText
from pqm.policies.corpus import Example
from pqm.policies.tokenizer import END, PAD
from pqm.questions.symbolic import Instance, instances

SLIPS = ("operand", "operator", "result", "answer")
ANSWER = " #### "
TOKENIZER_INSTANCES = 5000
TRIES = 5

_NUMBER = r"\d+(?:,\d{3})*(?:\.\d+)?"
_OPERATOR = r"[-+*/÷×x]"
_UNIT = r"(?: (?!x\b)[A-Za-z]+(?:/[A-Za-z]+)?){0,3}?"
_TERM = rf"[$€£]?{_NUMBER}%?{_UNIT}"
NUMBERS = re.compile(_NUMBER)
# Nothing before or behind that goes on: part of a longer formula says another thing than its numbers.
EQUATIONS = re.compile(
    rf"(?<![\w.,+*/÷×=$€£(-])(?<![-+*/÷×x=(] ){_TERM}(?: ?{_OPERATOR} ?{_TERM})+ ?= ?[$€£]?{_NUMBER}(?![.,]?\d|%| ?[-+*/÷×=])"
)
_PARTS = re.compile(rf"(?P<number>{_NUMBER})(?P<percent>%?)|(?<![A-Za-z])(?P<operator>{_OPERATOR})(?![A-Za-z])")


class NotTraceable(Exception):
    """A value changed that stands for several things, so that nobody can say which mentions change with it."""


def worked_steps(instance: Instance) -> list[str]:
    """The steps of the solution; the last one states the answer."""
    return [*instance.solution[:-1], f"{instance.solution[-1]}{ANSWER}{instance.answer}"]


@dataclass
class Step:
    """A step's text; `right` says of each character whether it is right given what stands before it."""

    text: str = ""
    right: list[bool] = field(default_factory=list)

    def write(self, text: str, expected: str | None = None) -> None:
        """`text`, which is wrong from the first character on that differs from `expected` (no difference where it is None)."""
        same = 0
        while expected is not None and same < min(len(text), len(expected)) and text[same] == expected[same]:
            same += 1
        fine = len(text) if expected is None or text == expected else same
        self.right += [place < fine for place in range(len(text))]
        self.text += text


def slipped_steps(random: Random, instance: Instance, chance: float) -> list[Step]:
    """The solution with a slip in each step that has an equation with probability `chance`, carried on consistently."""
    for _ in range(TRIES):
        try:
            return _Slipping(random, instance).steps(chance)
        except NotTraceable:
            continue
    return [Step(text, [True] * len(text)) for text in worked_steps(instance)]


class _Slipping:
    """One solution as it is written: which values have changed, and into what."""

    def __init__(self, random: Random, instance: Instance) -> None:
        self.random, self.instance = random, instance
        self.given = {_value(number) for number in NUMBERS.findall(instance.question)}
        self.known = list(dict.fromkeys(self.given))
        self.changed: dict[Fraction, Fraction] = {}
        self.results: list[Fraction] = []

    def steps(self, chance: float) -> list[Step]:
        return [self._step(text, chance) for text in worked_steps(self.instance)]

    def _step(self, text: str, chance: float) -> Step:
        step, place = Step(), 0
        equations = [match for match in EQUATIONS.finditer(text) if _holds(match[0])]
        slip = self.random.choice(SLIPS) if self.random.random() < chance else None
        slipping = self.random.choice(equations) if equations and slip in ("operand", "operator", "result") else None
        for match in equations:
            self._write_text(step, text[place : match.start()], None)
            self._write_equation(step, match[0], slip if match is slipping else None)
            place = match.end()
        self._write_text(step, text[place:], slip)
        return step

    def _write_text(self, step: Step, text: str, slip: str | None) -> None:
        """Text between equations: values that have changed change here too; the answer may slip."""
        body, mark, answer = text.partition(ANSWER)
        place = 0
        for match in NUMBERS.finditer(body):
            now = _like(match[0], self._now(match[0]))
            if now != match[0] and "=" in body[match.end() :]:
                raise NotTraceable  # it goes into a formula that was not understood
            step.write(body[place : match.start()])
            step.write(now)
            place = match.end()
        step.write(body[place:] + mark)
        if mark:
            expected = _like(answer, self._now(answer))
            step.write(self._another(expected) if slip == "answer" else expected, expected)

    def _write_equation(self, step: Step, text: str, slip: str | None) -> None:
        parts = list(_PARTS.finditer(text))
        *operands, result = [match for match in parts if match["number"]]
        operators = [match for match in parts if match["operator"]]
        wrong = self.random.choice(operators if slip == "operator" else operands) if slip else None
        values, signs, place = [], [], 0
        for match in parts[: parts.index(result)]:
            step.write(text[place : match.start()])
            if match["number"]:
                expected = _like(match["number"], self._now(match["number"]))
                written = self._another(expected) if slip == "operand" and match is wrong else expected
                values.append(_value(written) / (100 if match["percent"] else 1))
                step.write(written, expected)
                step.write(match["percent"])
            else:
                other = self.random.choice([sign for sign in "+-*/" if _SIGNS[sign] != _SIGNS[match["operator"]]])
                written = other if slip == "operator" and match is wrong else match["operator"]
                signs.append(_SIGNS[written])
                step.write(written, match["operator"])
            place = match.end()
        computed = _compute(values, signs)
        if computed is None or computed < 0:
            raise NotTraceable
        expected = _like(result["number"], computed)
        written = self._another(expected) if slip == "result" else expected
        step.write(text[place : result.start()])
        step.write(written, expected)
        self._remember(_value(result["number"]), _value(written))

    def _now(self, number: str) -> Fraction:
        return self.changed.get(_value(number), _value(number))

    def _remember(self, true: Fraction, written: Fraction) -> None:
        """From here on `true` is `written`."""
        again = true in self.results
        if self.changed.get(true, true) != written:
            if true in self.given or again:
                raise NotTraceable
            self.changed[true] = written
        if not again:
            self.results.append(true)
        self.known.append(written)

    def _another(self, number: str) -> str:
        """A wrong number instead of this one, most often another that stands before, or a near one; never its beginning."""
        value = _value(number)
        for _ in range(20):
            near = value + self.random.choice((-10, -2, -1, 1, 2, 10))
            other = self.random.choice(self.known) if self.known and self.random.random() < 0.5 else near
            text = _like(number, other)
            if other > 0 and not number.startswith(text):
                return text
        raise NotTraceable


_SIGNS = {"+": "+", "-": "-", "*": "*", "x": "*", "×": "*", "/": "/", "÷": "/"}


def _value(number: str) -> Fraction:
    return Fraction(number.replace(",", ""))


def _like(number: str, value: Fraction) -> str:
    """`value` to the cent, with thousands commas and a decimal point where `number` has them; `number` itself where it is equal."""
    if _value(number) == value:
        return number
    whole = value.denominator == 1 and "." not in number
    text = f"{value.numerator:,}" if whole else f"{float(value):,.2f}".rstrip("0")
    text = f"{text}0" if text.endswith(".") and "." in number else text.rstrip(".")
    return text if "," in number else text.replace(",", "")


def _compute(values: Sequence[Fraction], signs: Sequence[str]) -> Fraction | None:
    """Products before sums; None for a division by 0."""
    terms = [values[0]]
    for sign, value in zip(signs, values[1:]):
        if sign == "/" and value == 0:
            return None
        if sign in "+-":
            terms.append(value if sign == "+" else -value)
        else:
            terms[-1] = terms[-1] * value if sign == "*" else terms[-1] / value
    return sum(terms, Fraction(0))


def _holds(equation: str) -> bool:
    """Whether an equation is right to the cent."""
    parts = list(_PARTS.finditer(equation))
    *operands, result = [match for match in parts if match["number"]]
    signs = [_SIGNS[match["operator"]] for match in parts if match["operator"]]
    if len(signs) != len(operands) - 1:
        return False
    computed = _compute([_value(match["number"]) / (100 if match["percent"] else 1) for match in operands], signs)
    return computed is not None and abs(computed - _value(result["number"])) < Fraction(1, 100)


def symbolic_tokenizer(settings: SymbolicText, seed: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE trained on the text itself; every digit and every line end is a token of its own."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split("\n", "isolated"),
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=settings.vocabulary,
        special_tokens=[PAD, END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    drawn = islice(instances(settings.templates, Random(f"{seed} tokenizer")), TOKENIZER_INSTANCES)
    tokenizer.train_from_iterator(("\n".join([one.question, *worked_steps(one)]) for one in drawn), trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=PAD, eos_token=END)


class SymbolicExamples:
    """Instances of the settings' templates that are not among the `excluded` questions."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, excluded: frozenset[str], settings: SymbolicText) -> None:
        self._encode = tokenizer.backend_tokenizer.encode
        self._end, self._line_end = tokenizer.eos_token_id, self._encode("\n").ids[0]
        self._excluded, self._templates = excluded, settings.templates

    def example(self, random: Random, part: Phase | Lesson) -> Example:
        """An instance with a worked solution, or with slips in as many as the phase asks for."""
        assert isinstance(part, Phase), "settings of GSM-Symbolic have no lessons"
        instance = next(one for one in self._instances(random) if one.question not in self._excluded)
        if random.random() < part.slipped_share:
            steps = slipped_steps(random, instance, part.slip_chance)
        else:
            steps = [Step(text, [True] * len(text)) for text in worked_steps(instance)]
        tokens: list[int] = []
        right: list[bool] = []
        marks: list[tuple[int, bool]] = []
        fine = True
        for step in steps:
            pieces = self._encode(step.text)
            tokens += [*pieces.ids, self._line_end]
            right += [*(all(step.right[begin:end]) for begin, end in pieces.offsets), True]
            fine = fine and all(step.right)
            marks.append((len(tokens) - 1, fine))
        return Example(self._encode(f"{instance.question}\n").ids, [*tokens, self._end], [*right, True], marks)

    def _instances(self, random: Random) -> Iterator[Instance]:
        return instances(self._templates, random)
