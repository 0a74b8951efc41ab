# Every result is a target: results/tables, results/figures, one of their files, or all.
from snakemake.utils import min_version

min_version("9.27")


include: "workflow/rules/common.smk"
include: "workflow/rules/questions.smk"
include: "workflow/rules/policies.smk"
include: "workflow/rules/rollouts.smk"
include: "workflow/rules/labels.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/paper.smk"


# `all` must be defined in this file.
rule all:
    default_target: True
    input:
        rules.questions.input,
        rules.policies.input,
        rules.rollouts.input,
        rules.paper.input,
