# Solutions sampled by every policy.
include: "common.smk"


rule rollouts:
    input:
        sampled_rollouts(),


rule sample:
    input:
        config=f"{STUDY}/rollouts/{{dataset}}.yaml",
        policy="data/policies/{policy}",
        questions="data/questions/{dataset}.parquet",
        code=code("rollouts"),
    output:
        "data/rollouts/{policy}/{dataset}.parquet",
    log:
        "logs/rollouts/{policy}/{dataset}.log",
    benchmark:
        "results/benchmarks/rollouts/{policy}/{dataset}.tsv"
    conda:
        "../../envs/pqm.yaml"
    threads: threads_of(RolloutsConfig, "rollouts")
    shell:
        "pqm rollouts sample {input.config} --output {output} --policy {input.policy} --questions {input.questions} > {log} 2>&1"


rule published_rollouts:
    input:
        solutions=published_solutions_file,
        questions="data/real/questions/gsm8k.parquet",
        code=code("published"),
    output:
        "data/real/rollouts/{policy}/gsm8k.parquet",
    log:
        "logs/rollouts/published/{policy}.log",
    conda:
        "../../envs/pqm.yaml"
    shell:
        "pqm rollouts published {input.solutions} --output {output} --questions {input.questions} --model {wildcards.policy}"
        " > {log} 2>&1"


# Solutions whose first wrong step people marked.
rule annotated:
    input:
        config="config/real/annotated/{dataset}.yaml",
        file=real_source_file(AnnotatedConfig, "annotated"),
        code=code("annotated"),
    output:
        directory("data/real/annotated/{dataset}"),
    log:
        "logs/rollouts/annotated/{dataset}.log",
    conda:
        "../../envs/pqm.yaml"
    params:
        real_data=real_data,
    shell:
        "pqm rollouts annotated {input.config} --output {output} {params.real_data} > {log} 2>&1"
