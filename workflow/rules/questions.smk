# Data sets of questions: generated, or read from published data.
include: "common.smk"


rule questions:
    input:
        [LAYOUT.questions(dataset) for dataset in STUDY.questions],


rule question_set:
    input:
        upstream=lambda wildcards: [LAYOUT.questions(dataset) for dataset in STUDY.questions[wildcards.dataset].upstream],
        file=lambda wildcards: published_file(STUDY.questions[wildcards.dataset]),
        code=code("questions"),
    output:
        made=LAYOUT.questions("{dataset}"),
        record=record(LAYOUT.questions("{dataset}")),
    log:
        "<logs>/questions/{dataset}.log",
    benchmark:
        benchmark_file("questions/{dataset}")
    conda:
        "../../envs/pqm.yaml"
    params:
        study=FROZEN,
        settings=["questions.{dataset}"],
        upstream=repeated("--upstream", "upstream"),
    shell:
        recorded(
            "pqm questions {params.study:q} {wildcards.dataset:q} --output {output.made:q} {params.upstream:q} > {log:q} 2>&1"
        )
