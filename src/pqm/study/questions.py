"""Section `questions`: data sets of questions."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from pqm.study.settings import Count, Seed, Settings, Share
from pqm.study.sources import FileSource, HubSource


def _range_of_facts(facts: tuple[int, int]) -> tuple[int, int]:
    if not 1 <= facts[0] <= facts[1] <= 7:
        raise ValueError("expected [least, most] with 1 <= least <= most <= 7, at most one fact per day of a week")
    return facts


FactRange = Annotated[tuple[int, int], AfterValidator(_range_of_facts)]


def _range_of_templates(templates: tuple[int, int]) -> tuple[int, int]:
    if not 0 <= templates[0] <= templates[1] <= 99:
        raise ValueError("expected [first, last] with 0 <= first <= last <= 99")
    return templates


TemplateRange = Annotated[tuple[int, int], AfterValidator(_range_of_templates)]


class WordProblemsSource(Settings):
    """Generated arithmetic word problems."""

    kind: Literal["word-problems"]
    questions: Count
    facts: FactRange = Field(description="Least and most facts per problem; a solution has one step per fact.")
    distraction_share: Share = Field(0.0, description="Share of the problems with a sentence that no step needs.")
    seed: Seed


class PerturbedProblemsSource(Settings):
    """Perturbed problems: each seed question once with new numbers, with a distraction, and with one more fact."""

    kind: Literal["perturbed-word-problems"]
    of: str = Field(description="Data set of word problems that is perturbed.")
    seed_questions: Count = Field(description="Number of its first questions that are perturbed.")
    seed: Seed


class SymbolicSource(Settings):
    """New instances of GSM-Symbolic templates."""

    kind: Literal["gsm-symbolic"]
    questions: Count
    templates: TemplateRange = Field((0, 99), description="First and last template, both included.")
    seed: Seed


QuestionFormat = Literal["gsm8k", "gsm-plus", "math500"]


class QuestionsConfig(Settings):
    """A data set of questions."""

    source: (
        WordProblemsSource | PerturbedProblemsSource | SymbolicSource | FileSource[QuestionFormat] | HubSource[QuestionFormat]
    ) = Field(discriminator="kind")
    disjoint_from: tuple[str, ...] = Field((), description="Data sets that it must not share a question with.")

    @property
    def upstream(self) -> tuple[str, ...]:
        """The data sets that must exist first."""
        seeds = (self.source.of,) if isinstance(self.source, PerturbedProblemsSource) else ()
        return tuple(dict.fromkeys((*seeds, *self.disjoint_from)))
