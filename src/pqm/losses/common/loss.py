"""The interface of a loss, and finding a loss by its name.

A loss is a file in `pqm/losses/` that defines a function and `LOSS`, or a user's own function `mypackage.module:function`. The
function takes step scores and labels, both of shape [trajectories, steps], and returns one loss per trajectory, shape
[trajectories]. Its other parameters are its settings: their names, types and defaults are the schema of `loss_settings` in a
study.

This module does not import torch, because studies are checked with it. A loss imports torch inside its function.
"""

from __future__ import annotations

import importlib
import inspect
import os
import pkgutil
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property, partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError, create_model

import pqm.losses
from pqm.errors import PqmError, shortened
from pqm.study.faults import instead, validation_faults
from pqm.study.runs import RunConfig
from pqm.study.settings import Settings

if TYPE_CHECKING:
    from torch import Tensor

Reading = Literal["logit", "running-product"]


@dataclass(frozen=True)
class Loss:
    """A loss function and the properties of the models that it trains.

    Attributes:
        function: `function(scores, labels, **settings)`; see the module's docstring.
        label: the method's name in tables and figures; a template with the settings and `{targets}` (hard or soft).
        method: the method's name in files, also a template; by default the function's name.
        soft_targets: whether the loss accepts labels between 0 and 1.
        scores: how a step's score is read from the model. `logit`: the step's own logit. `running-product`: the logit of the
            product of sigma over the steps so far, for losses that model the probability that no step so far is wrong.
        outcome: whether only the last step's score is meaningful (an outcome reward model).
        colour: the colour of its line in figures.
        order: the position among the methods in tables; ties are sorted by name.
    """

    function: Callable[..., Tensor]
    label: str
    method: str = ""
    soft_targets: bool = False
    scores: Reading = "logit"
    outcome: bool = False
    colour: str = "#444444"
    order: int = 100

    def __post_init__(self) -> None:
        unknown = _fields(self.label) - _fields(self.template)
        if unknown:
            raise PqmError(f"loss {self.function.__name__}: its label contains {min(unknown)!r}; expected it in its method, too")

    @cached_property
    def schema(self) -> type[Settings]:
        """The settings of the function: its parameters after scores and labels.

        Raises:
            PqmError: a parameter has no type.
        """
        fields: dict[str, Any] = {}
        for parameter in list(inspect.signature(self.function).parameters.values())[2:]:
            if parameter.annotation is parameter.empty:
                raise PqmError(f"loss {self.function.__name__}: parameter {parameter.name!r} has no type; expected name: type")
            kind = parameter.annotation
            if isinstance(kind, str):
                kind = eval(kind, inspect.getmodule(self.function).__dict__)
            fields[parameter.name] = (kind, ... if parameter.default is parameter.empty else parameter.default)
        return create_model(f"{self.function.__name__}_settings", __base__=Settings, **fields)

    def bind(self, settings: Mapping[str, Any]) -> Callable[[Tensor, Tensor], Tensor]:
        """The function of scores and labels, with its settings applied.

        Raises:
            PqmError: a setting is unknown, missing or invalid; the message names it.
        """
        try:
            values = dict(self.schema.model_validate(dict(settings)))
        except ValidationError as error:
            found = [
                ": ".join(filter(None, [".".join(map(str, fault.place)), fault.what]))
                for fault in validation_faults(self.schema, error)
            ]
            raise PqmError(f"loss {self.function.__name__}: {'; '.join(found)}") from None
        return partial(self.function, **values)  # faster than a function that calls it

    @property
    def template(self) -> str:
        """The template of the method's name in files."""
        return self.method or self.function.__name__.replace("_", "-")

    def named(self, settings: Mapping[str, Any], targets: str) -> str:
        """The method's name in files, such as `pqm-zeta4` or `mse-soft`."""
        defaults = {name: field.default for name, field in self.schema.model_fields.items()}
        name = self.template.format(**defaults | dict(settings), targets=targets)
        return f"{name}-soft" if targets == "soft" and "{targets}" not in self.template else name


def _fields(template: str) -> set[str]:
    return set(re.findall(r"\{(\w+)", template))


def names() -> list[str]:
    """The names of the package's own losses."""
    return [module.name.replace("_", "-") for module in pkgutil.iter_modules(pqm.losses.__path__) if not module.ispkg]


@cache
def find(name: str) -> Loss:
    """Find a loss by its name: a file in `pqm/losses/`, or `package.module:function`.

    Raises:
        PqmError: there is no such loss; the message suggests the closest name.
    """
    if ":" not in name:
        if name not in names():
            raise PqmError(
                f"no loss {shortened(name)}; {instead(name, names())} (write a function of your own as package.module:function)"
            )
        return _registered(importlib.import_module(module_of(name)).LOSS)
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise PqmError(f"loss {shortened(name)}: expected package.module:function")
    if (here := os.getcwd()) not in sys.path:
        sys.path.append(here)  # a module in the working directory needs no installation
    try:
        found = getattr(importlib.import_module(module), attribute)
    except Exception as error:  # whatever the user's module raises
        why = str(error).splitlines()[0] if str(error) else "no message"
        raise PqmError(
            f"loss {shortened(name)}: cannot be imported ({type(error).__name__}: {why}); expected package.module:function"
        ) from None
    if not isinstance(found, Loss) and not callable(found):
        raise PqmError(f"loss {shortened(name)}: not a function; expected package.module:function")
    return _registered(found if isinstance(found, Loss) else Loss(found, found.__name__.replace("_", " ")))


def loss_of(run: RunConfig) -> Loss:
    """The loss of a run.

    Raises:
        PqmError: there is no such loss, or it does not accept the run's settings or targets.
    """
    loss = find(run.loss)
    loss.bind(run.loss_settings)
    if run.targets == "soft" and not loss.soft_targets:
        raise PqmError(f"loss {run.loss} accepts hard targets only")
    return loss


def module_of(name: str) -> str:
    """The name of a loss's module."""
    return name.partition(":")[0] if ":" in name else f"pqm.losses.{name.replace('-', '_')}"


def source_of(name: str) -> str:
    """The source code of a loss and of `losses/common`; part of the key of an unfinished training's checkpoint."""
    find(name)
    shared = sorted((Path(pqm.losses.__path__[0]) / "common").glob("*.py"))
    return "".join([inspect.getsource(importlib.import_module(module_of(name))), *(path.read_text() for path in shared)])


NUMBER, WORD = r"[\d.e+-]+", r"[\w.-]+"
_KNOWN: list[Loss] = []


def _registered(loss: Loss) -> Loss:
    _KNOWN.append(loss)
    return loss


@dataclass(frozen=True)
class Method:
    """A parsed method name: its loss, its name in tables and figures, and the settings in it."""

    loss: Loss
    label: str
    settings: tuple[float | str, ...]


def read_method(method: str) -> Method | None:
    """Parse a method's name in files; None if it belongs to no loss.

    The losses that were found so far are tried first, so that the others are not imported without need.
    """
    found = (_parse(loss, method) for loss in _KNOWN)
    others = (_parse(find(name), method) for name in names())
    return next(filter(None, chain(found, others)), None)


def _parse(loss: Loss, method: str) -> Method | None:
    parts = re.split(r"\{(\w+)([^}]*)\}", loss.template)
    pattern = re.escape(parts[0])
    for name, number_format, text in zip(parts[1::3], parts[2::3], parts[3::3]):
        pattern += f"(?P<{name}>{NUMBER if number_format.endswith('g') else WORD})" + re.escape(text)
    match = re.fullmatch(pattern + ("" if "{targets}" in loss.template else "(?P<soft>-soft)?"), method)
    if not match:
        return None
    groups = match.groupdict()
    soft = ", soft" if groups.pop("soft", None) else ""
    values = {key: _number(value) for key, value in groups.items() if value is not None}
    return Method(loss, loss.label.format(**values) + soft, tuple(values.values()))


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
