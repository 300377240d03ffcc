"""Which scikit-learn model tells tumours apart well, and is small and fast where it is served?

The families have parameters of their own; each candidate is cross-validated as an ONNX model.
"""

import sys

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import moo
from objectives import SklearnTask, Split, Splits


class Tumours(SklearnTask):
    """Three families, each with parameters of its own."""

    score = ("roc_auc", "accuracy")
    folds = 3

    def data(self):
        """Return the tumours to fit on and to cross-validate with."""
        measures, labels = load_breast_cancer(return_X_y=True)
        train_x, valid_x, train_y, valid_y = train_test_split(
            measures.astype(np.float32), labels, test_size=0.3, stratify=labels, random_state=0
        )
        return Splits(Split(train_x, train_y), Split(valid_x, valid_y))

    def baseline(self):
        """Return the forest that is taken to be in service."""
        return {"family": "forest", "n_trees": 100, "depth": 10}

    def build(self, trial):
        """Return an unfitted model."""
        family = trial.suggest_categorical("family", ["linear", "forest", "boosting"])
        if family == "linear":
            strength = trial.suggest_float("c", 1e-3, 1e2, log=True)
            return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000))
        n_trees, depth = trial.suggest_int("n_trees", 5, 100, log=True), trial.suggest_int("depth", 2, 10)
        if family == "forest":
            return RandomForestClassifier(n_trees, max_depth=depth)
        return GradientBoostingClassifier(n_estimators=n_trees, max_depth=depth)


if __name__ == "__main__":
    study = moo.optimize(
        Tumours(),
        maximize=["roc_auc"],
        minimize=["latency_p50", "file_size"],
        constraints=["roc_auc >= baseline - 2%"],
        n_trials=int(sys.argv[1]) if len(sys.argv) > 1 else 30,
        seed=0,
    )
    print(study.front()[["trial", "param_family", "roc_auc", "roc_auc_low", "latency_p50", "file_size"]])
