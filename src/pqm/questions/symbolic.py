"""Fresh instances of the GSM-Symbolic templates (Mirzadeh et al. 2024) that the package `reasoning-gym` carries.

A template is a GSM8K question whose names and numbers vary, with its worked solution. Not every instance is sound: some templates
cut products to whole numbers (`0.39 * 80 = 31`) or give nonsense (an age of -1). An instance whose solution does not add up, or does
not end in its answer, is drawn again.
"""

import importlib.util
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

from pqm.config import SymbolicSource
from pqm.errors import PqmError
from pqm.questions.published import Row, split_gsm8k_answer

PACKAGE = "reasoning_gym"
# Templates whose authors list them as not yet right (`tasks_need_fix`); the package draws from the others only.
UNSOUND = {32, 35, 37, 61, 63, 65, 74, 76, 77, 79, 86, 87, 90, 97, 98}
DIFFICULTY = 1.0  # the only one that there is
TRIES = 2000  # draws in a row without a sound or without a fresh instance before the templates count as exhausted
ROUNDING = 0.01  # results are given to the cent

_NUMBER = r"[$€£]?(\d[\d,]*(?:\.\d+)?)"
_OPERATOR = r"[-+*/÷×x]"
# Of two numbers only: nothing before or behind that goes on, and no percentage.
_EQUATION = re.compile(
    rf"(?<![\w.,+*/÷×=$€£-])(?<![-+*/÷×x=(] ){_NUMBER} ?({_OPERATOR}) ?{_NUMBER} ?= ?{_NUMBER}(?![.,]?\d|%| ?{_OPERATOR})"
)
Template = Callable[[Random, float], dict[str, Any]]


@dataclass(frozen=True)
class Instance:
    """A question, its answer and its worked solution, step by step."""

    template: int
    question: str
    answer: str
    solution: tuple[str, ...]


def instances(numbers: tuple[int, int], random: Random) -> Iterator[Instance]:
    """Endless instances of random templates among the sound ones of [first, last], one that does not add up drawn again.

    Raises:
        PqmError: the package is missing, or none of the templates is sound.
    """
    templates = _templates(PACKAGE)
    first, last = numbers
    chosen = [number for number in range(first, last + 1) if number not in UNSOUND]
    if not chosen:
        raise PqmError(f"none of the templates {first} to {last} is sound; expected others")
    while True:
        for _try in range(TRIES):
            number = random.choice(chosen)
            made = templates[number](random, DIFFICULTY)
            solution, _ = split_gsm8k_answer(made["metadata"]["answer_cot"])
            if adds_up(solution, made["answer"]):
                break
        else:
            raise PqmError(f"none of {TRIES} instances of the templates {first} to {last} adds up; expected others")
        yield Instance(number, made["question"], made["answer"], tuple(solution))


def fresh_instances(source: SymbolicSource, name: str, taken: set[str]) -> list[Row]:
    """`source.questions` instances of random templates, none in `taken` and none twice; a template is a cluster.

    Raises:
        PqmError: see `instances`; or the templates have fewer fresh instances.
    """
    seen = set(taken)
    rows: list[Row] = []
    tries = 0
    for instance in instances(source.templates, Random(f"{name} {source.seed}")):
        if tries == TRIES:
            first, last = source.templates
            raise PqmError(
                f"{name}: {source.questions} questions are asked for, templates {first} to {last} gave only {len(rows)}"
            )
        tries += 1
        if instance.question in seen:
            continue
        seen.add(instance.question)
        tries = 0
        rows.append(
            {
                "question_id": f"{name}-{len(rows):05d}",
                "question": instance.question,
                "answer": instance.answer,
                "solution": list(instance.solution),
                "cluster": f"template-{instance.template:02d}",
                "perturbation": "",
            }
        )
        if len(rows) == source.questions:
            break
    return rows


def adds_up(solution: list[str], answer: str) -> bool:
    """Whether the last step holds the answer, and every equation of two numbers is right to the cent."""
    numbers = [_value(number) for number in re.findall(_NUMBER, solution[-1])]
    return float(answer) in numbers and all(
        abs(_apply(_value(left), operator, _value(right)) - _value(result)) < ROUNDING
        for step in solution
        for left, operator, right, result in _EQUATION.findall(step)
    )


def _value(number: str) -> float:
    return float(number.replace(",", ""))


def _apply(left: float, operator: str, right: float) -> float:
    if operator in "/÷":
        return left / right if right else float("nan")
    return {"+": left + right, "-": left - right}.get(operator, left * right)


@cache
def _templates(package: str) -> dict[int, Template]:
    """The templates by number.

    Only their two files and the helpers that these use are loaded: the whole package imports a solver that must be compiled,
    fonts, games and more, which the templates do not need.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise PqmError("the package reasoning-gym is not installed; it carries the templates of GSM-Symbolic")
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
