"""Stop trainings that are not worth finishing, with two objectives: cost first, then halving.

What breaks a constraint is never trained; of what is trained, the best third goes on at each rung, judged by
accuracy so far and measured latency together.
"""

import sys

import moo
from objectives.digits import Digits


def main(n_trials: int) -> None:
    study = moo.optimize(
        Digits(),
        maximize=["accuracy"],
        minimize=["latency_p50"],
        constraints=["latency_p50 <= 1 x baseline", "parameters <= 40k"],
        pruner="halving:eta=3,min_resource=1,max_resource=12",
        n_trials=n_trials,
        seed=1,
        folder="moo-runs/prune",
    )
    results = study.results()
    for trial in results.trials:
        trained_s = 0.0 if trial.evaluation is None else trial.evaluation.seconds.get("fit", 0.0)
        print(f"trial {trial.number}: {trial.state}, trained {trained_s:.1f} s; {trial.reason or ''}")
    print(study.front()[["trial", "accuracy", "latency_p50", "parameters"]])


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 40)
