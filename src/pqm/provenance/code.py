"""The code that each kind of job runs through: inputs of its rule, and dependencies of its DVC stage.

Settings models, formats and the command line are checked at every boundary instead: they are no part of any result. A test
follows the imports and compares.
"""

SOURCE = {
    "questions": ["questions/__init__.py", "questions/stories.py"],
    "published": ["questions/published.py"],
    "symbolic": ["questions/published.py", "questions/symbolic.py"],
    "annotated": ["rollouts/annotated.py"],
    "solutions": ["questions/published.py", "rollouts/published.py"],
    "pretraining": [
        "evaluate/estimators.py",
        "evaluate/grading.py",
        "policies/corpus.py",
        "policies/pretraining.py",
        "policies/story_text.py",
        "policies/symbolic_text.py",
        "policies/tokenizer.py",
        "questions/stories.py",
        "questions/symbolic.py",
        "rollouts/engine.py",
        "rollouts/sampling.py",
        "solution.py",
    ],
    "policies": ["policies/__init__.py", "solution.py"],
    "foreign": ["policies/foreign.py", "solution.py"],
    "served": ["policies/served.py", "solution.py"],
    "rollouts": [
        "rollouts/__init__.py",
        "rollouts/engine.py",
        "rollouts/openai_engine.py",
        "rollouts/sampling.py",
        "rollouts/transformers_engine.py",
        "solution.py",
    ],
    "labels": [
        "evaluate/grading.py",
        "labels/__init__.py",
        "rollouts/__init__.py",
        "rollouts/engine.py",
        "rollouts/openai_engine.py",
        "rollouts/sampling.py",
        "rollouts/transformers_engine.py",
        "solution.py",
    ],
    "published_labels": ["evaluate/grading.py", "labels/published.py"],
    "train": [
        "evaluate/estimators.py",
        "evaluate/scoring.py",
        "reward_model.py",
        "solution.py",
        "train/__init__.py",
        "train/data.py",
        "train/losses.py",
    ],
    "grades": [
        "evaluate/__init__.py",
        "evaluate/grading.py",
        "evaluate/rules.py",
        "evaluate/unanswerable.py",
        "questions/stories.py",
    ],
    "scores": ["evaluate/scores.py", "evaluate/scoring.py", "reward_model.py", "solution.py"],
    "metrics": ["evaluate/__init__.py", "evaluate/estimators.py"],
    "tables": [
        "evaluate/estimators.py",
        "evaluate/first_errors.py",
        "paper/cost.py",
        "paper/published.py",
        "paper/statistics.py",
        "paper/study.py",
        "paper/style.py",
        "paper/tables.py",
    ],
    "headline": ["paper/headline.py"],
    "figures": [
        "evaluate/estimators.py",
        "evaluate/first_errors.py",
        "paper/cost.py",
        "paper/figures.py",
        "paper/statistics.py",
        "paper/study.py",
        "paper/style.py",
        "paper/theory.py",
        "questions/stories.py",
    ],
    "report": ["evaluate/estimators.py", "paper/report.html.jinja", "paper/report.py", "paper/study.py", "paper/style.py"],
}
# The kinds of jobs of each stage.
OF_STAGE = {
    "questions": ["questions", "published", "symbolic"],
    "policies": ["pretraining", "policies", "foreign", "served"],
    "rollouts": ["rollouts", "annotated", "solutions"],
    "labels": ["labels", "published_labels"],
    "train": ["train"],
    "evaluate": ["grades", "scores", "metrics"],
    "paper": ["tables", "headline", "figures", "report"],
}


def code(part: str) -> list[str]:
    """The files that one kind of job runs through."""
    return [f"src/pqm/{module}" for module in SOURCE[part]]


def code_of_stage(stage: str) -> list[str]:
    """The files that the jobs of a stage run through."""
    return sorted({file for part in OF_STAGE[stage] for file in code(part)})
