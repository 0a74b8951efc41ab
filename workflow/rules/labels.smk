# Monte Carlo labels of the steps of sampled solutions.
include: "common.smk"


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
    priority: 50  # the longest chain of jobs waits for it
    conda:
        "../../envs/pqm.yaml"
    threads: threads_of(LabelsConfig, "labels")
    resources:
        **asked("labels"),
    params:
        rollouts=repeated("--rollouts", "rollouts"),
    shell:
        "exec python -m pqm.devices {resources.gpu} pqm labels {input.config} --output {output} --completer {input.completer}"
        " --questions {input.questions} {params.rollouts} > {log} 2>&1"
