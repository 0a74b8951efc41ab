# The paper's results: a table or a figure each, alone or together.
include: "common.smk"


TABLES = expand("results/tables/{name}.{form}", name=PAPER.tables, form=["csv", "md", "tex"])
FIGURES = expand("results/figures/{name}.{form}", name=PAPER.figures, form=["svg", "png", "pdf", "csv"])
REPORT = "results/report.html"
HEADLINE = "results/tables/main.json"
PUBLISHED_MODELS = ["6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification"]


rule paper:
    input:
        TABLES,
        FIGURES,
        REPORT,
        HEADLINE,


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


for result in PAPER.tables:

    rule:
        name:
            f"table_{result}"
        input:
            settings=f"{STUDY}/paper.yaml",
            files=result_inputs(result),
            caption=f"workflow/report/{result}.rst",
            code=code("tables"),
        output:
            report(
                f"results/tables/{result}.csv",
                caption=f"../report/{result}.rst",
                category="Tables",
                labels={"result": result},
            ),
            f"results/tables/{result}.md",
            f"results/tables/{result}.tex",
        log:
            f"logs/paper/table-{result}.log",
        benchmark:
            f"results/benchmarks/paper/table-{result}.tsv"
        conda:
            "../../envs/pqm.yaml"
        params:
            name=result,
            study=folder_of_settings,
        shell:
            "pqm paper table {params.name} --output results/tables --study {params.study} --caption {input.caption} > {log} 2>&1"


for result in PAPER.figures:

    rule:
        name:
            f"figure_{result}"
        input:
            settings=f"{STUDY}/paper.yaml",
            files=result_inputs(result),
            caption=f"workflow/report/{result}.rst",
            code=code("figures"),
        output:
            report(
                f"results/figures/{result}.svg",
                caption=f"../report/{result}.rst",
                category="Figures",
                labels={"result": result},
            ),
            f"results/figures/{result}.png",
            f"results/figures/{result}.pdf",
            f"results/figures/{result}.csv",
        log:
            f"logs/paper/figure-{result}.log",
        benchmark:
            f"results/benchmarks/paper/figure-{result}.tsv"
        conda:
            "../../envs/pqm.yaml"
        params:
            name=result,
            study=folder_of_settings,
        shell:
            "pqm paper figure {params.name} --output results/figures --study {params.study} > {log} 2>&1"


# What `dvc metrics` shows.
rule headline:
    input:
        table="results/tables/main.csv",
        code=code("headline"),
    output:
        HEADLINE,
    log:
        "logs/paper/headline.log",
    benchmark:
        "results/benchmarks/paper/headline.tsv"
    conda:
        "../../envs/pqm.yaml"
    shell:
        "pqm paper headline {input.table} --output {output} > {log} 2>&1"


rule page:
    input:
        TABLES,
        FIGURES,
        settings=f"{STUDY}/paper.yaml",
        files=needed("scores", PAPER.report),
        checkpoints=needed("checkpoints", []),
        captions=expand("workflow/report/{name}.rst", name=[*PAPER.tables, *PAPER.figures]),
        code=code("report"),
    output:
        REPORT,
    log:
        "logs/paper/report.log",
    benchmark:
        "results/benchmarks/paper/report.tsv"
    conda:
        "../../envs/pqm.yaml"
    params:
        study=folder_of_settings,
    shell:
        "pqm paper report --output {output} --study {params.study} --captions workflow/report > {log} 2>&1"


rule real_solutions:
    input:
        grades=expand("data/real/grades/{model}/gsm8k.parquet", model=PUBLISHED_MODELS),
        solutions=published_solutions_file,
        code=code("real_solutions"),
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


rule real_disagreements:
    input:
        grades=expand("data/real/grades/{model}/gsm8k.parquet", model=PUBLISHED_MODELS),
        questions="data/real/questions/gsm8k.parquet",
        solutions=published_solutions_file,
        code=code("real_solutions"),
    output:
        "results/tables/real_disagreements.csv",
    log:
        "logs/paper/real_disagreements.log",
    conda:
        "../../envs/pqm.yaml"
    params:
        grades=repeated("--grades", "grades"),
    shell:
        "pqm paper real-disagreements --output {output} {params.grades} --questions {input.questions}"
        " --solutions {input.solutions} 2>&1 | tee {log}"
