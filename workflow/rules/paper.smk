# The results: a table or a figure each, alone or together.
include: "common.smk"


TABLES = expand("<results>/tables/{name}.{form}", name=RESULTS.tables if RESULTS else (), form=["csv", "md", "tex"])
FIGURES = expand("<results>/figures/{name}.{form}", name=RESULTS.figures if RESULTS else (), form=["svg", "png", "pdf", "csv"])
REPORT = ["<results>/report.html"] if RESULTS and RESULTS.report else []
HEADLINE = ["<results>/tables/headline.json"] if RESULTS and "main" in RESULTS.tables else []


rule paper:
    input:
        TABLES,
        FIGURES,
        REPORT,
        HEADLINE,


# Named as users ask for them: of the chosen study, and with the slash that shells complete to.
for kind, files in (("tables", [*TABLES, *HEADLINE]), ("figures", FIGURES)):
    for name in (f"results/{kind}", f"results/{kind}/", f"results/{STUDY_NAME}/{kind}", f"results/{STUDY_NAME}/{kind}/"):

        rule:
            name:
                name
            input:
                files,


for result in RESULTS.tables if RESULTS else ():

    rule:
        name:
            f"table_{result}"
        input:
            files=result_inputs("tables", result),
            caption=f"workflow/report/{result}.rst",
            code=code("tables"),
        output:
            report(
                f"<results>/tables/{result}.csv",
                caption=f"../report/{result}.rst",
                category="Tables",
                labels={"result": result},
            ),
            f"<results>/tables/{result}.md",
            f"<results>/tables/{result}.tex",
            record=f"<results>/tables/{result}.record.json",
        log:
            f"<logs>/paper/table-{result}.log",
        benchmark:
            f"<benchmarks>/paper/table-{result}.tsv"
        conda:
            "../../envs/pqm.yaml"
        params:
            study=FROZEN,
            settings=result_settings("tables", result),
            name=result,
            folder=output_folder,
        shell:
            recorded(
                "pqm paper table {params.name} --study {params.study} --output {params.folder} --caption {input.caption} > {log} 2>&1"
            )


for result in RESULTS.figures if RESULTS else ():

    rule:
        name:
            f"figure_{result}"
        input:
            files=result_inputs("figures", result),
            caption=f"workflow/report/{result}.rst",
            code=code("figures"),
        output:
            report(
                f"<results>/figures/{result}.svg",
                caption=f"../report/{result}.rst",
                category="Figures",
                labels={"result": result},
            ),
            f"<results>/figures/{result}.png",
            f"<results>/figures/{result}.pdf",
            f"<results>/figures/{result}.csv",
            record=f"<results>/figures/{result}.record.json",
        log:
            f"<logs>/paper/figure-{result}.log",
        benchmark:
            f"<benchmarks>/paper/figure-{result}.tsv"
        conda:
            "../../envs/pqm.yaml"
        params:
            study=FROZEN,
            settings=result_settings("figures", result),
            name=result,
            folder=output_folder,
        shell:
            recorded("pqm paper figure {params.name} --study {params.study} --output {params.folder} > {log} 2>&1")


if HEADLINE:

    # What `dvc metrics` shows.
    rule headline:
        input:
            table="<results>/tables/main.csv",
            code=code("headline"),
        output:
            made="<results>/tables/headline.json",
            record="<results>/tables/headline.record.json",
        log:
            "<logs>/paper/headline.log",
        benchmark:
            "<benchmarks>/paper/headline.tsv"
        conda:
            "../../envs/pqm.yaml"
        params:
            study=FROZEN,
            settings="",
        shell:
            recorded("pqm paper headline {input.table} --output {output.made} > {log} 2>&1")


if REPORT:

    rule page:
        input:
            TABLES,
            FIGURES,
            files=needed("scores", RESULTS.report),
            checkpoints=needed("checkpoints", []),
            captions=expand("workflow/report/{name}.rst", name=[*RESULTS.tables, *RESULTS.figures]),
            code=code("report"),
        output:
            made="<results>/report.html",
            record="<results>/report.record.json",
        log:
            "<logs>/paper/report.log",
        benchmark:
            "<benchmarks>/paper/report.tsv"
        conda:
            "../../envs/pqm.yaml"
        params:
            study=FROZEN,
            settings="results runs evaluation training.seeds",
        shell:
            recorded("pqm paper report --study {params.study} --output {output.made} --captions workflow/report > {log} 2>&1")
