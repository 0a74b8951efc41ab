"""Where published files lie on this machine, and where to get them."""

from pathlib import Path

PUBLISHED = Path("data", "published")
PLACES = {
    "gsm8k": "github.com/openai/grade-school-math (grade_school_math/data)",
    "gsm-plus": "huggingface.co/datasets/qintongli/GSM-Plus",
    "math500": "huggingface.co/datasets/HuggingFaceH4/MATH-500",
    "math-shepherd": "huggingface.co/datasets/peiyi9979/Math-Shepherd",
    "prm800k": "github.com/openai/prm800k (prm800k/data)",
    "processbench": "huggingface.co/datasets/Qwen/ProcessBench",
    "champ": "the package champ-dataset",
}


def where_to_get(form: str) -> str:
    """Where files of a format are published."""
    return PLACES.get(form, "whoever made it; the path stands in the study")
