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
        made="<data>/questions/{dataset}.parquet",
        record="<data>/questions/{dataset}.record.json",
    log:
        "<logs>/questions/{dataset}.log",
    benchmark:
        "<benchmarks>/questions/{dataset}.tsv"
    conda:
        "../../envs/pqm.yaml"
    params:
        study=FROZEN,
        settings="questions.{dataset}",
        upstream=repeated("--upstream", "upstream"),
    shell:
        recorded("pqm questions {params.study} {wildcards.dataset} --output {output.made} {params.upstream} > {log} 2>&1")
