"""Stage `paper`: every result of the paper, a table or a figure each, from what a study built.

A result is a function in `tables.py` or `figures.py`, an entry below, an entry in the study's `results` (with the runs that
it is about) and a caption in `workflow/report/`. The entry below is what the rules ask for before they make it:

    metrics       of its runs and of the references
    scores        step scores of its runs and of the references, with rollouts, grades and questions
    checkpoints   of every run
    grades        of every policy on every scored data set
    audit         labels of the audit set
    validation    step scores of the validation set, for a threshold
    validation labels   the set's Monte Carlo labels, where nobody knows the truth of a step
    annotated     solutions whose first wrong step people marked, and step scores by its runs
    everything    what the stages made, whose tokens are counted and whose timing files are read
    solutions     solutions that others published, with our grades
    reported      the published numbers that a user filled in
    table NAME    another table
"""

TABLE_NEEDS: dict[str, tuple[str, ...]] = {
    "main": ("metrics",),
    "differences": ("metrics",),
    "backbones": ("metrics",),
    "loss_ablation": ("metrics",),
    "margin_ablation": ("metrics",),
    "self_consistency": ("metrics",),
    "aggregations": ("metrics", "scores"),
    "first_error": ("scores", "validation"),
    "annotated_errors": ("annotated", "scores", "validation", "validation labels"),
    "case_study": ("scores",),
    "grader_disagreement": ("grades",),
    "cost": ("everything", "checkpoints"),
    "paper_comparison": ("reported", "table main"),
    "published_solutions": ("solutions",),
    "published_disagreements": ("solutions",),
}
FIGURE_NEEDS: dict[str, tuple[str, ...]] = {
    "best_of_n": ("table main",),
    "margin": ("table margin_ablation",),
    "votes": ("table self_consistency",),
    "framework": ("scores", "audit"),
    "assumption": ("audit",),
    "q_values": ("scores", "audit"),
    "label_audit": ("audit",),
    "separation": ("scores",),
    "calibration": ("scores",),
    "compute": ("table main", "scores", "everything"),
    "theory": (),
}
# A result with one of these needs is about at least one run.
OF_RUNS = {"metrics", "scores"}
