"""Stage `paper`: every result of the paper, a table or a figure each, from what a study built.

A result is a function in `tables.py` or `figures.py`, an entry in `NEEDS`, an entry in the study's `paper.yaml` (with the runs
that it is about) and a caption in `workflow/report/`. `NEEDS` is what the rules ask for before they make it:

    metrics       of its runs and of the references
    scores        step scores of its runs and of the references, with rollouts, grades and questions
    checkpoints   of its runs
    grades        of every policy on every scored data set
    labels        of the audit set
    benchmarks    Snakemake's records of what each job took
    reported      the published numbers that a user filled in
    table NAME    another table
"""

NEEDS: dict[str, tuple[str, ...]] = {
    # tables
    "main": ("metrics",),
    "differences": ("metrics",),
    "backbones": ("metrics",),
    "loss_ablation": ("metrics",),
    "margin_ablation": ("metrics",),
    "self_consistency": ("metrics",),
    "aggregations": ("metrics", "scores"),
    "first_error": ("scores",),
    "case_study": ("scores",),
    "grader_disagreement": ("grades",),
    "cost": ("benchmarks", "checkpoints"),
    "paper_comparison": ("reported", "table main"),
    # figures
    "best_of_n": ("table main",),
    "margin": ("table margin_ablation",),
    "votes": ("table self_consistency",),
    "framework": ("scores", "labels"),
    "assumption": ("labels",),
    "q_values": ("scores", "labels"),
    "label_audit": ("labels",),
    "separation": ("scores",),
    "calibration": ("scores",),
    "compute": ("table main", "benchmarks"),
    "theory": (),
}
