"""Section `results`: tables, figures and their statistics."""

from typing import Annotated

from pydantic import Field

from pqm.study.settings import Count, Seed, Settings


class ResultsConfig(Settings):
    """The tables and figures of the study, each with the runs that it includes, and their statistics."""

    tables: dict[str, tuple[str, ...]] = Field({}, description="Tables, each with its runs.")
    figures: dict[str, tuple[str, ...]] = Field({}, description="Figures, each with its runs.")
    report: tuple[str, ...] = Field((), description="Runs with step scores in the report. Without runs there is no report.")
    confidence: Annotated[float, Field(gt=0, lt=1)] = Field(0.95, description="Confidence level of the intervals.")
    resamples: Count = Field(2000, description="Resamples of the bootstrap, which gives the intervals of F1.")
    seed: Seed = Field(0, description="Seed of these resamples.")
