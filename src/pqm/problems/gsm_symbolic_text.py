"""Training text from GSM-Symbolic: new instances with worked solutions, some with injected errors.

The text has natural sentences, and the positions of injected errors are known. An error changes an operand, an operator or a
result in one of a step's right equations (such as `1400 carrot / 14 carrot/minute = 100 minutes`), or the answer. The rest of
the solution is consistent with the error: later mentions of a changed value change too, and later results are computed from it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice
from random import Random

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from pqm.problems.corpus import TextExample
from pqm.problems.equations import EQUATIONS, NUMBERS, SIGNS, Equation, compute, to_fraction
from pqm.problems.gsm_symbolic import Instance, instances
from pqm.problems.tokenizer import END, PAD
from pqm.study.pretraining import CurriculumStage, Phase, SymbolicText

ERRORS = ("operand", "operator", "result", "answer")
ANSWER = " #### "
TOKENIZER_INSTANCES = 5000
TRIES = 5


class NotTraceable(Exception):
    """A changed value stands for several quantities, so it is unclear which later mentions must change."""


def worked_steps(instance: Instance) -> list[str]:
    """The steps of the solution; the last one states the answer."""
    return [*instance.solution[:-1], f"{instance.solution[-1]}{ANSWER}{instance.answer}"]


@dataclass
class Step:
    """A step.

    Attributes:
        text: its text.
        right: whether each character is right given the text before it.
    """

    text: str = ""
    right: list[bool] = field(default_factory=list)

    def write(self, text: str, expected: str | None = None) -> None:
        """Append a text.

        Args:
            expected: the right text; `text` is wrong from its first different character on. By default `text` is right.
        """
        same = 0
        while expected is not None and same < min(len(text), len(expected)) and text[same] == expected[same]:
            same += 1
        fine = len(text) if expected is None or text == expected else same
        self.right += [place < fine for place in range(len(text))]
        self.text += text


def steps_with_errors(random: Random, instance: Instance, chance: float) -> list[Step]:
    """The solution with an error in each step with probability `chance`; later steps are consistent with the errors."""
    for _ in range(TRIES):
        try:
            return _ErrorInjection(random, instance).steps(chance)
        except NotTraceable:
            continue
    return [Step(text, [True] * len(text)) for text in worked_steps(instance)]


class _ErrorInjection:
    """Writes one solution with errors, and keeps track of the changed values."""

    def __init__(self, random: Random, instance: Instance) -> None:
        self.random, self.instance = random, instance
        self.given = {to_fraction(number) for number in NUMBERS.findall(instance.question)}
        self.known = list(dict.fromkeys(self.given))
        self.changed: dict[Fraction, Fraction] = {}
        self.results: list[Fraction] = []

    def steps(self, chance: float) -> list[Step]:
        return [self._step(text, chance) for text in worked_steps(self.instance)]

    def _step(self, text: str, chance: float) -> Step:
        step, place = Step(), 0
        equations = [match for match in EQUATIONS.finditer(text) if Equation(match[0]).holds]
        error = self.random.choice(ERRORS) if self.random.random() < chance else None
        target = self.random.choice(equations) if equations and error in ("operand", "operator", "result") else None
        for match in equations:
            self._write_text(step, text[place : match.start()], None)
            self._write_equation(step, match[0], error if match is target else None)
            place = match.end()
        self._write_text(step, text[place:], error)
        return step

    def _write_text(self, step: Step, text: str, error: str | None) -> None:
        """Write the text between equations, with changed values, and the answer, possibly with an error."""
        body, separator, answer = text.partition(ANSWER)
        place = 0
        for match in NUMBERS.finditer(body):
            now = _like(match[0], self._now(match[0]))
            if now != match[0] and "=" in body[match.end() :]:
                raise NotTraceable  # the value is part of a formula that was not parsed
            step.write(body[place : match.start()])
            step.write(now)
            place = match.end()
        step.write(body[place:] + separator)
        if separator:
            expected = _like(answer, self._now(answer))
            step.write(self._another(expected) if error == "answer" else expected, expected)

    def _write_equation(self, step: Step, text: str, error: str | None) -> None:
        """Write an equation with changed values and its computed result, possibly with an error."""
        equation = Equation(text)
        parts, operands, operators, result = equation.parts, equation.operands, equation.operators, equation.result
        wrong = self.random.choice(operators if error == "operator" else operands) if error else None
        values, signs, place = [], [], 0
        for match in parts[: parts.index(result)]:
            step.write(text[place : match.start()])
            if match["number"]:
                expected = _like(match["number"], self._now(match["number"]))
                written = self._another(expected) if error == "operand" and match is wrong else expected
                values.append(to_fraction(written) / (100 if match["percent"] else 1))
                step.write(written, expected)
                step.write(match["percent"])
            else:
                other = self.random.choice([sign for sign in "+-*/" if SIGNS[sign] != SIGNS[match["operator"]]])
                written = other if error == "operator" and match is wrong else match["operator"]
                signs.append(SIGNS[written])
                step.write(written, match["operator"])
            place = match.end()
        computed = compute(values, signs)
        if computed is None or computed < 0:
            raise NotTraceable
        expected = _like(result["number"], computed)
        written = self._another(expected) if error == "result" else expected
        step.write(text[place : result.start()])
        step.write(written, expected)
        self._remember(to_fraction(result["number"]), to_fraction(written))

    def _now(self, number: str) -> Fraction:
        return self.changed.get(to_fraction(number), to_fraction(number))

    def _remember(self, true: Fraction, written: Fraction) -> None:
        """Replace the value `true` by `written` from here on."""
        again = true in self.results
        if self.changed.get(true, true) != written:
            if true in self.given or again:
                raise NotTraceable
            self.changed[true] = written
        if not again:
            self.results.append(true)
        self.known.append(written)

    def _another(self, number: str) -> str:
        """A wrong number: often one from the text before, or else a near one. It is no prefix of the right number."""
        value = to_fraction(number)
        for _ in range(20):
            near = value + self.random.choice((-10, -2, -1, 1, 2, 10))
            other = self.random.choice(self.known) if self.known and self.random.random() < 0.5 else near
            text = _like(number, other)
            if other > 0 and not number.startswith(text):
                return text
        raise NotTraceable


def _like(number: str, value: Fraction) -> str:
    """Write `value` to the cent, in the style of `number` (thousands commas, decimal point); equal values keep their text."""
    if to_fraction(number) == value:
        return number
    whole = value.denominator == 1 and "." not in number
    text = f"{value.numerator:,}" if whole else f"{float(value):,.2f}".rstrip("0")
    text = f"{text}0" if text.endswith(".") and "." in number else text.rstrip(".")
    return text if "," in number else text.replace(",", "")


def symbolic_tokenizer(settings: SymbolicText, seed: int, step_separator: str = "\n") -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer trained on the text. Digits, line breaks and the step separator are single tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split("\n", "isolated"),
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    assert settings.vocabulary is not None, "a new tokenizer has a size"
    trainer = trainers.BpeTrainer(
        vocab_size=settings.vocabulary,
        special_tokens=[PAD, END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    drawn = islice(instances(settings.templates, Random(f"{seed} tokenizer")), TOKENIZER_INSTANCES)
    tokenizer.train_from_iterator(("\n".join([one.question, *worked_steps(one)]) for one in drawn), trainer)
    made = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=PAD, eos_token=END)
    if step_separator != "\n":
        made.add_tokens([AddedToken(step_separator, normalized=False)])
    return made


class SymbolicExamples:
    """Generates examples from instances of the settings' templates, without the `excluded` questions."""

    def __init__(
        self, tokenizer: PreTrainedTokenizerFast, excluded: frozenset[str], settings: SymbolicText, step_separator: str = "\n"
    ) -> None:
        self._encode = tokenizer.backend_tokenizer.encode
        self._end, self._step_end = tokenizer.eos_token_id, self._encode(step_separator).ids[0]
        self._excluded, self._templates = excluded, settings.templates

    def example(self, random: Random, part: Phase | CurriculumStage) -> TextExample:
        """A new instance with a worked solution, with injected errors in the share that the phase sets."""
        assert isinstance(part, Phase), "settings of GSM-Symbolic have no curriculum"
        instance = next(one for one in self._instances(random) if one.question not in self._excluded)
        if random.random() < part.injected_error_share:
            steps = steps_with_errors(random, instance, part.injected_error_chance)
        else:
            steps = [Step(text, [True] * len(text)) for text in worked_steps(instance)]
        tokens: list[int] = []
        right: list[bool] = []
        steps_right: list[tuple[int, bool]] = []
        fine = True
        for step in steps:
            pieces = self._encode(step.text)
            tokens += [*pieces.ids, self._step_end]
            right += [*(all(step.right[begin:end]) for begin, end in pieces.offsets), True]
            fine = fine and all(step.right)
            steps_right.append((len(tokens) - 1, fine))
        return TextExample(self._encode(f"{instance.question}\n").ids, [*tokens, self._end], [*right, True], steps_right)

    def _instances(self, random: Random) -> Iterator[Instance]:
        return instances(self._templates, random)
