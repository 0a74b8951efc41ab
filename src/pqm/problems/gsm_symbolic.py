"""Instances of the GSM-Symbolic templates (Mirzadeh et al. 2024) in the package `reasoning-gym`.

A template is a GSM8K question with variable names and numbers, and its worked solution. Not every instance is sound: some
templates truncate products to whole numbers (`0.39 * 80 = 31`) or give nonsense (an age of -1). An instance is drawn again if
its solution does not add up or does not end with its answer.
"""

import importlib.util
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

from pqm.errors import PqmError
from pqm.problems.equations import NUMBERS, PLAIN_EQUATIONS, Equation, to_fraction
from pqm.problems.gsm8k import split_gsm8k_answer

PACKAGE = "reasoning_gym"
# Templates that the package lists as faulty (`tasks_need_fix`) and does not use itself.
UNSOUND = {32, 35, 37, 61, 63, 65, 74, 76, 77, 79, 86, 87, 90, 97, 98}
DIFFICULTY = 1.0  # the only level that is implemented
TRIES = 2000  # draws in a row without a sound, or without a new, instance before the templates count as exhausted

Template = Callable[[Random, float], dict[str, Any]]


@dataclass(frozen=True)
class Instance:
    """A question, its answer and the steps of its worked solution."""

    template: int
    question: str
    answer: str
    solution: tuple[str, ...]

    @property
    def cluster(self) -> str:
        """The name of its template."""
        return f"template-{self.template:02d}"


def instances(numbers: tuple[int, int], random: Random) -> Iterator[Instance]:
    """An endless stream of instances that add up, from random sound templates.

    Args:
        numbers: the first and the last template.

    Raises:
        PqmError: the package is missing, or none of the templates is sound.
    """
    templates = _templates(PACKAGE)
    first, last = numbers
    chosen = [number for number in range(first, last + 1) if number not in UNSOUND]
    if not chosen:
        raise PqmError(f"none of the templates {first} to {last} is sound; expected a range with a sound one")
    while True:
        for _try in range(TRIES):
            number = random.choice(chosen)
            made = templates[number](random, DIFFICULTY)
            solution, _ = split_gsm8k_answer(made["metadata"]["answer_cot"])
            if adds_up(solution, made["answer"]):
                break
        else:
            raise PqmError(f"none of {TRIES} instances of the templates {first} to {last} adds up; expected other templates")
        yield Instance(number, made["question"], made["answer"], tuple(solution))


def fresh_instances(
    questions: int, numbers: tuple[int, int], seed: int, name: str, taken: Iterable[str]
) -> Iterator[tuple[str, Instance]]:
    """Different instances of random templates, each with a question id.

    Args:
        questions: how many.
        numbers: the first and the last template.
        name: name of the data set, part of its seed and the prefix of its question ids.
        taken: questions to avoid.

    Raises:
        PqmError: see `instances`; or the templates have too few instances.
    """
    seen, made, tries = set(taken), 0, 0
    for instance in instances(numbers, Random(f"{name} {seed}")):
        if tries == TRIES:
            raise PqmError(
                f"{name}: expected {questions} questions, but the templates {numbers[0]} to {numbers[1]} gave only {made}"
            )
        tries += 1
        if instance.question in seen:
            continue
        seen.add(instance.question)
        yield f"{name}-{made:05d}", instance
        made, tries = made + 1, 0
        if made == questions:
            return


def adds_up(solution: list[str], answer: str) -> bool:
    """Whether the last step contains the answer, and every equation with two operands is right to the cent."""
    numbers = [float(to_fraction(number)) for number in NUMBERS.findall(solution[-1])]
    return float(answer) in numbers and all(
        Equation(match[0]).holds for step in solution for match in PLAIN_EQUATIONS.finditer(step)
    )


@cache
def _templates(package: str) -> dict[int, Template]:
    """Load the templates, by number.

    Only their two files and their helpers are loaded, because the whole package imports a compiled solver, fonts, games and more,
    which the templates do not need.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise PqmError("the package reasoning-gym is not installed; it contains the templates of GSM-Symbolic")
    root = Path(spec.submodule_search_locations[0])
    helpers = f"{package}.utils"
    loaded = helpers in sys.modules
    sys.modules[helpers] = sys.modules.get(helpers) or _module(helpers, root / "utils.py")
    try:
        parts = [
            _module(f"{package}_{part}", root / f"arithmetic/gsm_symbolic/generators_{part}.py") for part in ("00_49", "50_99")
        ]
    finally:
        if not loaded:
            del sys.modules[helpers]
    prefix = "generate_"
    return {int(key.removeprefix(prefix)): value for part in parts for key, value in vars(part).items() if key.startswith(prefix)}


def _module(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
