"""A study in MLflow or Weights & Biases: one parent run a study, one run a trial.

`make_tracker` returns an observer for `moo.optimize`; `track` sends a study that is already there.

```python
with make_tracker("mlflow:http://tracking:5000", folder="moo-runs/digits") as tracker:
    study = moo.optimize(task, ..., folder="moo-runs/digits", observer=tracker)
    tracker.finish(study.results())
```

Optuna's own callbacks (`MLflowCallback`, `WeightsAndBiasesCallback` of optuna-integration) do not serve. They
are called by `study.optimize`, in the sweep's own process, and an error of theirs ends the sweep; here trials
are asked and told, and a child process sends, with time limits. They see Optuna's trial: objective values,
but no interval, no metric that is no objective, no curve of several quantities, no reason of a failure, no
artefact. Runs nest only within a run that the caller holds open, and nothing asks what is there already.
"""

from moo.tracking._by_name import TRACKER_NAMES, make_tracker, track
from moo.tracking._observers import Observers
from moo.tracking._tracker import Tracker

__all__ = ["TRACKER_NAMES", "Observers", "Tracker", "make_tracker", "track"]
