# Question sets, made or read.
include: "common.smk"


rule questions:
    input:
        expand("data/questions/{dataset}.parquet", dataset=names("questions")),


rule question_set:
    input:
        config=f"{STUDY}/questions/{{dataset}}.yaml",
        upstream=upstream_questions,
        file=question_file,
        code=question_code,
    output:
        "data/questions/{dataset}.parquet",
    log:
        "logs/questions/{dataset}.log",
    benchmark:
        "results/benchmarks/questions/{dataset}.tsv"
    conda:
        "../../envs/pqm.yaml"
    params:
        upstream=repeated("--upstream", "upstream"),
        real_data=real_data,
    shell:
        "pqm questions {input.config} --output {output} {params.upstream} {params.real_data} > {log} 2>&1"


# Published benchmarks: nothing else depends on them, and nothing of them is committed.
rule published_questions:
    input:
        config="config/real/questions/{dataset}.yaml",
        file=real_source_file(QuestionsConfig, "questions"),
        code=code("published"),
    output:
        "data/real/questions/{dataset}.parquet",
    log:
        "logs/questions/published/{dataset}.log",
    conda:
        "../../envs/pqm.yaml"
    params:
        real_data=real_data,
    shell:
        "pqm questions {input.config} --output {output} {params.real_data} > {log} 2>&1"
