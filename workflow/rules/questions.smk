# Question sets, made or read.
include: "common.smk"


rule questions:
    input:
        expand("<data>/questions/{dataset}.parquet", dataset=STUDY.questions),


rule question_set:
    input:
        upstream=upstream_questions,
        file=question_file,
        code=question_code,
    output:
        "<data>/questions/{dataset}.parquet",
        record="<data>/questions/{dataset}.record.json",
    log:
        "<logs>/questions/{dataset}.log",
    benchmark:
        "<benchmarks>/questions/{dataset}.tsv"
    conda:
        "../../envs/pqm.yaml"
    params:
        settings="questions.{dataset}",
        upstream=repeated("--upstream", "upstream"),
    shell:
        RECORD + "pqm questions {FROZEN} {wildcards.dataset} --output {output[0]} {params.upstream} > {log} 2>&1"
