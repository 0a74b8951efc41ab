# Question sets, made or read.
include: "common.smk"


def upstream_questions(wildcards):
    upstream = settings(QuestionsConfig, "questions", wildcards.dataset).upstream
    user = f"{STUDY}/questions/{wildcards.dataset}.yaml"
    return [f"data/questions/{known('questions', dataset, user)}.parquet" for dataset in upstream]


rule questions:
    input:
        expand("data/questions/{dataset}.parquet", dataset=names("questions")),


rule question_set:
    input:
        config=f"{STUDY}/questions/{{dataset}}.yaml",
        upstream=upstream_questions,
        code=code("questions"),
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
    shell:
        "pqm questions {input.config} --output {output} {params.upstream} > {log} 2>&1"


# Published benchmarks: nothing else depends on them, and nothing of them is committed.
def published_file(wildcards):
    path = Path(REAL_DATA, load(QuestionsConfig, Path(f"config/real/questions/{wildcards.dataset}.yaml")).source.path)
    if not path.exists():
        raise WorkflowError(f"{path} is missing: name the folder of the published data with --config real_data=FOLDER")
    return path


rule published_questions:
    input:
        config="config/real/questions/{dataset}.yaml",
        file=published_file,
        code=code("published"),
    output:
        "data/real/questions/{dataset}.parquet",
    log:
        "logs/questions/published/{dataset}.log",
    conda:
        "../../envs/pqm.yaml"
    params:
        folder=REAL_DATA,
    shell:
        "pqm questions {input.config} --output {output} --real-data {params.folder} > {log} 2>&1"
