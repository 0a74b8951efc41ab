"""The text format of a solution, shared by sampling, labelling, training and scoring.

It is stored with every checkpoint, and data in another format is refused. A mismatch between training
and scoring is the most common silent error of process reward models.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from pqm.errors import PqmError

if TYPE_CHECKING:
    import pandas as pd

FILE_NAME = "solution_format.json"


def split_at_headings(text: str, heading: str = "Step {number}:") -> list[str]:
    """Split a text at its numbered headings: the text before the first heading, then the text after each one."""
    return re.split(re.escape(heading).replace(re.escape("{number}"), r"\d+"), text)


class SolutionFormat(BaseModel):
    """How a question and its steps become text.

    A policy reads the question in `question_template` and writes steps that end with `step_separator`. A reward
    model reads the same text with `step_token` at the end of each step, and gives its score there. If both are the
    same token, it reads exactly what the policy wrote.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    question_template: str = Field(
        "{question}\n",
        description="The prompt, with `{question}` in place of the question. It may end with the first heading, so that the"
        " policy continues after it.",
    )
    step_separator: str = Field("\n", description="Text at the end of each step that a policy writes.")
    step_heading: str = Field(
        "",
        description="Pattern of numbered headings, such as `Step {number}: `. Samples are then split at headings instead of"
        " separators, and the steps are numbered again.",
    )
    step_token: str = Field("\n", description="Token at the end of each step that a reward model reads; its score is read there.")

    @field_validator("step_heading")
    @classmethod
    def _heading_is_numbered(cls, heading: str) -> str:
        if heading and "{number}" not in heading:
            raise ValueError("expected {number} in place of the step's number")
        return heading

    def prompt(self, question: str) -> str:
        """The text that a policy reads before the first step."""
        return self.question_template.replace("{question}", question)

    def prefix(self, question: str, steps: Sequence[str]) -> str:
        """The text that a policy continues: the prompt and the finished steps."""
        prompt = self.prompt(question)
        if steps and self.step_heading:
            prompt = prompt.removesuffix(self._heading(1).strip())  # the first step contains it
        return prompt + "".join(step + self.step_separator for step in steps)

    def close_step(self, step: str) -> str:
        """A step as the reward model reads it, up to and including the scored position."""
        return step + self.step_token

    def split(self, completion: str) -> list[str]:
        """Split a sampled text into steps, without empty ones."""
        if not self.step_heading:
            return [step for step in completion.split(self.step_separator) if step.strip()]
        texts = [text.strip() for text in split_at_headings(completion, self.step_heading.strip()) if text.strip()]
        return [self._heading(number) + text for number, text in enumerate(texts, start=1)]

    def _heading(self, number: int) -> str:
        return self.step_heading.replace("{number}", str(number))

    @property
    def between_steps(self) -> str:
        """The text between a scored position and the next step."""
        return "" if self.step_token == self.step_separator else self.step_separator

    def save(self, folder: Path) -> None:
        """Write the format to a checkpoint's folder."""
        (folder / FILE_NAME).write_text(self.model_dump_json(indent=2) + "\n")

    def mark(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Store the format in a table's attributes, and return the table."""
        frame.attrs["solution_format"] = self.model_dump_json()
        return frame

    def expect(self, frame: pd.DataFrame, table: Path, checkpoint: Path) -> None:
        """Check that a table's steps were split in the same way; a table without a format (not written by pqm) is accepted.

        Templates and step tokens may differ. Each policy has its own, and a reward model reads every text in the format of its
        checkpoint, in training and in scoring.

        Raises:
            PqmError: the steps were split in another way.
        """
        other = frame.attrs.get("solution_format")
        try:
            same = other is None or SolutionFormat.model_validate_json(other)._cut() == self._cut()
        except ValueError:
            same = False
        if not same:
            raise PqmError(f"{table}: its steps have the solution format {other}; {checkpoint} expects {self.model_dump_json()}")

    def _cut(self) -> tuple[str, str]:
        return self.step_separator, self.step_heading

    @classmethod
    def load(cls, folder: Path) -> SolutionFormat:
        """Read the format of a checkpoint.

        Raises:
            PqmError: the file is missing or no solution format.
        """
        path = folder / FILE_NAME
        try:
            return cls(**json.loads(path.read_text()))
        except FileNotFoundError:
            raise PqmError(f"{path}: missing; expected the solution format that the checkpoint was trained with") from None
        except ValidationError as error:
            fault = error.errors()[0]
            where = ".".join(map(str, fault["loc"]))
            raise PqmError(f"{path}: not a solution format ({where}: {fault['msg']})") from None
        except (ValueError, TypeError) as error:
            raise PqmError(f"{path}: not a solution format ({error})") from None
