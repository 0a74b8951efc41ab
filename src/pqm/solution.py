"""The one text format of a solution: used by sampling, labelling, training and scoring alike.

It is stored beside every checkpoint, and data in another format is refused (a mismatch between
training and scoring is the commonest silent error of process reward models).
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, field_validator

from pqm.errors import PqmError

if TYPE_CHECKING:
    import pandas as pd

FILE_NAME = "solution_format.json"


class SolutionFormat(BaseModel):
    """How a question and its steps become text.

    A policy reads `prompt(question)` and writes steps closed by `step_separator`. A reward model reads the
    same text with `step_token` at the end of each step and is scored there; where both are the same token
    it reads exactly what the policy wrote.

    A `step_heading` such as "Step {number}: " says that steps begin with numbered headings: a text is cut there instead of at
    separators, and every step gets its heading anew. The template may end with the first one, for the policy to go on from.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    question_template: str = "{question}\n"
    step_separator: str = "\n"
    step_heading: str = ""
    step_token: str = "\n"

    @field_validator("step_heading")
    @classmethod
    def _heading_is_numbered(cls, heading: str) -> str:
        if heading and "{number}" not in heading:
            raise ValueError("must say {number} where a step's number stands")
        return heading

    def prompt(self, question: str) -> str:
        return self.question_template.replace("{question}", question)

    def prefix(self, question: str, steps: Sequence[str]) -> str:
        """What a policy continues from: the prompt and the closed steps."""
        prompt = self.prompt(question)
        if steps and self.step_heading:
            prompt = prompt.removesuffix(self._heading(1).strip())  # the first step brings it
        return prompt + "".join(step + self.step_separator for step in steps)

    def close_step(self, step: str) -> str:
        """A step as the reward model reads it, up to and with the position that is scored."""
        return step + self.step_token

    def split(self, completion: str) -> list[str]:
        """The steps of a sampled text; empty ones are no steps."""
        if not self.step_heading:
            return [step for step in completion.split(self.step_separator) if step.strip()]
        numbered = re.escape(self.step_heading.strip()).replace(re.escape("{number}"), r"\d+")
        texts = [text.strip() for text in re.split(numbered, completion) if text.strip()]
        return [self._heading(number) + text for number, text in enumerate(texts, start=1)]

    def _heading(self, number: int) -> str:
        return self.step_heading.replace("{number}", str(number))

    @property
    def between_steps(self) -> str:
        """What stands between a scored position and the next step."""
        return "" if self.step_token == self.step_separator else self.step_separator

    def save(self, folder: Path) -> None:
        (folder / FILE_NAME).write_text(self.model_dump_json(indent=2) + "\n")

    def mark(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The table, saying that its steps are in this format."""
        frame.attrs["solution_format"] = self.model_dump_json()
        return frame

    def expect(self, frame: pd.DataFrame, table: Path, checkpoint: Path) -> None:
        """Refuse a table whose steps were cut in another way; one that does not say (made elsewhere) is taken as it is.

        Templates and step tokens may differ: a policy's are its own, and a reward model reads every text in the one format that
        its checkpoint stores, in training and in scoring.
        """
        other = frame.attrs.get("solution_format")
        try:
            same = other is None or SolutionFormat.model_validate_json(other)._cut() == self._cut()
        except ValueError:
            same = False
        if not same:
            raise PqmError(f"{table}: its steps are in the solution format {other}, {checkpoint} reads {self.model_dump_json()}")

    def _cut(self) -> tuple[str, str]:
        return self.step_separator, self.step_heading

    @classmethod
    def load(cls, folder: Path) -> SolutionFormat:
        path = folder / FILE_NAME
        try:
            return cls(**json.loads(path.read_text()))
        except FileNotFoundError:
            raise PqmError(f"{path}: missing; a checkpoint stores the solution format that it was trained with") from None
        except (ValueError, TypeError) as error:
            raise PqmError(f"{path}: not a solution format ({error})") from None
