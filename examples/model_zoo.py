"""Which of 1,446 published ImageNet models to take, of those with 30 million parameters at most?

Nobody here measured them: a table from elsewhere is enough for a report. The same on the command line:

    moo report examples/data/timm_imagenet_cpu_i9.csv --maximize top1 --minimize ms_per_img \
        --constraint "param_count <= 30" --label model --out model-zoo
"""

import sys
from pathlib import Path

import reports
from moo.decision import recommend
from moo.tables import read_table

TABLE = Path(__file__).parent / "data" / "timm_imagenet_cpu_i9.csv"

if __name__ == "__main__":
    results = read_table(
        TABLE,
        maximize=["top1"],
        minimize=["ms_per_img"],
        constraints=["param_count <= 30"],
        label="model",
    )
    print(results.counts)
    columns = ["label", "top1", "ms_per_img", "param_count"]
    print(results.front_table()[columns].to_string(index=False))
    recommendation = recommend(results)
    print("recommended:", recommendation.trial.name)
    print("report:", reports.write(results, sys.argv[1] if len(sys.argv) > 1 else "model-zoo"))
