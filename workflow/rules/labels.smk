# Labels of steps: Monte Carlo ones of sampled solutions, or published ones.
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
        file=label_file,
        code=label_code,
    output:
        "data/labels/{labels}.parquet",
    log:
        "logs/labels/{labels}.log",
    benchmark:
        "results/benchmarks/labels/{labels}.tsv"
    priority: 50  # the longest chain of jobs waits for it
    conda:
        "../../envs/pqm.yaml"
    threads: label_threads
    params:
        completer=repeated("--completer", "completer"),
        questions=repeated("--questions", "questions"),
        rollouts=repeated("--rollouts", "rollouts"),
        real_data=real_data,
    shell:
        "pqm labels {input.config} --output {output} {params.completer} {params.questions} {params.rollouts}"
        " {params.real_data} > {log} 2>&1"
