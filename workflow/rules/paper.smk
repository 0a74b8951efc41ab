# The paper's results: a table or a figure each, alone or together.
include: "common.smk"


TABLES = expand("results/tables/{name}.{form}", name=PAPER.tables, form=["csv", "md", "tex"])
FIGURES = expand("results/figures/{name}.{form}", name=PAPER.figures, form=["svg", "png"])
# Which table a figure is drawn from.
DRAWN_FROM = {"best_of_n": "main"}
PUBLISHED_MODELS = ["6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification"]


rule paper:
    input:
        TABLES,
        FIGURES,


rule:
    name:
        "results/tables"
    input:
        TABLES,


# With the slash that shells complete to.
rule:
    name:
        "results/tables/"
    input:
        TABLES,


rule:
    name:
        "results/figures"
    input:
        FIGURES,


rule:
    name:
        "results/figures/"
    input:
        FIGURES,


wildcard_constraints:
    name="|".join([*PAPER.tables, *PAPER.figures]),


rule table:
    input:
        paper=f"{STUDY}/paper.yaml",
        metrics=expand("results/metrics/{run}.parquet", run=[*RUNS, "references"]),
        caption="workflow/report/{name}.rst",
        code=code("tables"),
    output:
        report("results/tables/{name}.csv", category="Tables"),
        "results/tables/{name}.md",
        "results/tables/{name}.tex",
    log:
        "logs/paper/table-{name}.log",
    benchmark:
        "results/benchmarks/paper/table-{name}.tsv"
    conda:
        "../../envs/pqm.yaml"
    params:
        metrics=repeated("--metrics", "metrics"),
    shell:
        "pqm paper table {wildcards.name} --output results/tables --paper {input.paper} {params.metrics}"
        " --caption {input.caption} > {log} 2>&1"


rule figure:
    input:
        table=lambda wildcards: f"results/tables/{DRAWN_FROM[wildcards.name]}.csv",
        code=code("figures"),
    output:
        report("results/figures/{name}.svg", category="Figures"),
        "results/figures/{name}.png",
    log:
        "logs/paper/figure-{name}.log",
    benchmark:
        "results/benchmarks/paper/figure-{name}.tsv"
    conda:
        "../../envs/pqm.yaml"
    shell:
        "pqm paper figure {wildcards.name} --output results/figures --table {input.table} > {log} 2>&1"


rule real_solutions:
    input:
        grades=expand("data/real/grades/{model}/gsm8k.parquet", model=PUBLISHED_MODELS),
        solutions=published_solutions_file,
        code=code("tables"),
    output:
        "results/tables/real_solutions.csv",
    log:
        "logs/paper/real_solutions.log",
    conda:
        "../../envs/pqm.yaml"
    params:
        grades=repeated("--grades", "grades"),
    shell:
        "pqm paper real-solutions --output {output} {params.grades} --solutions {input.solutions} 2>&1 | tee {log}"


ruleorder: real_solutions > table
