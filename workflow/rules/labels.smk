# Monte Carlo labels of the steps of sampled solutions.
include: "common.smk"


def label_inputs(part):
    def paths(wildcards):
        wanted = settings(LabelsConfig, "labels", wildcards.labels)
        user = f"{STUDY}/labels/{wildcards.labels}.yaml"
        policies = [known("policies", policy, user) for policy in wanted.policies]
        return {
            "completer": f"data/policies/{known('policies', wanted.completer, user)}",
            "questions": f"data/questions/{known('questions', wanted.dataset, user)}.parquet",
            "rollouts": [f"data/rollouts/{policy}/{wanted.dataset}.parquet" for policy in policies],
        }[part]

    return paths


rule labels:
    input:
        expand("data/labels/{labels}.parquet", labels=LABELS),


rule label_set:
    input:
        config=f"{STUDY}/labels/{{labels}}.yaml",
        completer=label_inputs("completer"),
        questions=label_inputs("questions"),
        rollouts=label_inputs("rollouts"),
        code=code("labels"),
    output:
        "data/labels/{labels}.parquet",
    log:
        "logs/labels/{labels}.log",
    benchmark:
        "results/benchmarks/labels/{labels}.tsv"
    conda:
        "../../envs/pqm.yaml"
    params:
        rollouts=repeated("--rollouts", "rollouts"),
    shell:
        "pqm labels {input.config} --output {output} --completer {input.completer} --questions {input.questions}"
        " {params.rollouts} > {log} 2>&1"
