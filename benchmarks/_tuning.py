"""Small scikit-learn models, trained on the spot: the held-out group, on which no sampler is tuned.

An evaluation takes some 10 ms on one core and gives the same answer each time (`random_state` is fixed).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from sklearn.datasets import load_diabetes, load_digits, make_friedman1
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import mean_squared_error
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.tree import DecisionTreeClassifier

from benchmarks._problem import Outcome, Problem, Task
from benchmarks._stored_fronts import stored_front

SEED = 0


def tree_digits() -> Task:
    """Error and log10 nodes of a decision tree on the digits; nodes and depth bounded."""
    train_x, test_x, train_y, test_y = train_test_split(
        *load_digits(return_X_y=True), test_size=0.4, random_state=SEED
    )
    space = {
        "max_depth": IntDistribution(2, 20),
        "min_samples_leaf": IntDistribution(1, 64, log=True),
        "min_samples_split": IntDistribution(2, 64, log=True),
        "ccp_alpha": FloatDistribution(1e-5, 1e-1, log=True),
        "max_features": FloatDistribution(0.1, 1.0),
        "criterion": CategoricalDistribution(("gini", "entropy")),
        "splitter": CategoricalDistribution(("best", "random")),
    }

    def evaluate(params: dict[str, Any]) -> Outcome:
        tree = DecisionTreeClassifier(**params, random_state=SEED).fit(train_x, train_y)
        n_nodes = tree.tree_.node_count
        return Outcome(
            losses=(1.0 - tree.score(test_x, test_y), math.log10(n_nodes)),
            constraints={"nodes": n_nodes - 120.0, "depth": tree.get_depth() - 9.0},
        )

    return Task(
        name="tree-digits",
        group="tuning",
        space=space,
        evaluate=evaluate,
        n_objectives=2,
        constraint_names=("nodes", "depth"),
    )


def kinds_digits() -> Task:
    """Log loss and log10 stored numbers of a tree, a logistic regression or nearest neighbours.

    Each kind has parameters of its own. Bounded: the stored numbers and the multiplications and comparisons
    that one prediction takes.
    """
    images, labels = load_digits(return_X_y=True)
    images = images[:, np.argsort(-images.var(axis=0))] / 16.0
    train_x, test_x, train_y, test_y = train_test_split(
        images, labels, train_size=500, test_size=500, random_state=SEED
    )
    space = {
        "n_pixels": IntDistribution(4, 64, log=True),
        "kind": CategoricalDistribution(("tree", "logistic", "neighbours")),
        "max_depth": IntDistribution(2, 16),
        "min_samples_leaf": IntDistribution(1, 32, log=True),
        "C": FloatDistribution(1e-3, 1e2, log=True),
        "n_neighbours": IntDistribution(1, 30, log=True),
        "weights": CategoricalDistribution(("uniform", "distance")),
        "n_kept": IntDistribution(20, 500, log=True),
    }
    conditions = {
        "max_depth": ("kind", ("tree",)),
        "min_samples_leaf": ("kind", ("tree",)),
        "C": ("kind", ("logistic",)),
        "n_neighbours": ("kind", ("neighbours",)),
        "weights": ("kind", ("neighbours",)),
        "n_kept": ("kind", ("neighbours",)),
    }

    def evaluate(params: dict[str, Any]) -> Outcome:
        n_pixels = params["n_pixels"]
        n_kept = params.get("n_kept", len(train_x))
        model = _model_of_kind(params)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(train_x[:n_kept, :n_pixels], train_y[:n_kept])
        probabilities = np.zeros((len(test_x), 10))
        probabilities[:, model.classes_] = model.predict_proba(test_x[:, :n_pixels])
        of_truth = probabilities[np.arange(len(test_y)), test_y]
        match params["kind"]:
            case "tree":
                n_stored, n_operations = 4 * model.tree_.node_count, model.get_depth()
            case "logistic":
                n_stored, n_operations = model.coef_.size + 10, model.coef_.size
            case _:
                n_stored, n_operations = n_kept * (n_pixels + 1), n_kept * n_pixels
        return Outcome(
            losses=(-float(np.log(0.98 * of_truth + 0.002).mean()), math.log10(n_stored)),
            constraints={"stored_numbers": n_stored - 3_000.0, "operations": n_operations - 2_000.0},
        )

    return Task(
        name="kinds-digits",
        group="tuning",
        space=space,
        evaluate=evaluate,
        n_objectives=2,
        constraint_names=("stored_numbers", "operations"),
        conditions=conditions,
    )


def _model_of_kind(params: dict[str, Any]) -> Any:
    match params["kind"]:
        case "tree":
            return DecisionTreeClassifier(
                max_depth=params["max_depth"],
                min_samples_leaf=params["min_samples_leaf"],
                random_state=SEED,
            )
        case "logistic":
            return LogisticRegression(C=params["C"], max_iter=30)
        case _:
            return KNeighborsClassifier(
                n_neighbors=min(params["n_neighbours"], params["n_kept"]), weights=params["weights"]
            )


def boosting_diabetes() -> Task:
    """Root mean square error and log10 nodes of boosted trees; the comparisons of a prediction bounded."""
    train_x, test_x, train_y, test_y = train_test_split(
        *load_diabetes(return_X_y=True), test_size=0.4, random_state=SEED
    )
    space = {
        "n_estimators": IntDistribution(5, 40, log=True),
        "learning_rate": FloatDistribution(0.01, 1.0, log=True),
        "max_depth": IntDistribution(1, 5),
        "min_samples_leaf": IntDistribution(1, 40, log=True),
        "subsample": FloatDistribution(0.3, 1.0),
        "max_features": FloatDistribution(0.1, 1.0),
    }

    def evaluate(params: dict[str, Any]) -> Outcome:
        model = GradientBoostingRegressor(**params, random_state=SEED).fit(train_x, train_y)
        trees = [tree.tree_ for tree in model.estimators_[:, 0]]
        return Outcome(
            losses=(
                math.sqrt(mean_squared_error(test_y, model.predict(test_x))),
                math.log10(sum(tree.node_count for tree in trees)),
            ),
            constraints={"comparisons": sum(tree.max_depth for tree in trees) - 40.0},
        )

    return Task(
        name="boosting-diabetes",
        group="tuning",
        space=space,
        evaluate=evaluate,
        n_objectives=2,
        constraint_names=("comparisons",),
    )


def kernel_friedman() -> Task:
    """log10 mean square error and log10 landmarks of approximate kernel ridge regression.

    The kernels have parameters of their own. Bounded: the error, as a product would.
    """
    train_x, test_x, train_y, test_y = train_test_split(
        *make_friedman1(n_samples=500, noise=0.5, random_state=SEED), test_size=0.4, random_state=SEED
    )
    space = {
        "kernel": CategoricalDistribution(("rbf", "laplacian", "polynomial")),
        "gamma": FloatDistribution(1e-3, 1e1, log=True),
        "degree": IntDistribution(2, 5),
        "coef0": FloatDistribution(0.0, 3.0),
        "n_components": IntDistribution(3, 150, log=True),
        "alpha": FloatDistribution(1e-6, 1e1, log=True),
    }
    conditions = {"degree": ("kernel", ("polynomial",)), "coef0": ("kernel", ("polynomial",))}

    def evaluate(params: dict[str, Any]) -> Outcome:
        kernel = {key: value for key, value in params.items() if key != "alpha"}
        model = make_pipeline(Nystroem(**kernel, random_state=SEED), Ridge(alpha=params["alpha"]))
        error = mean_squared_error(test_y, model.fit(train_x, train_y).predict(test_x))
        return Outcome(
            losses=(math.log10(error), math.log10(params["n_components"])),
            constraints={"mse": float(error) - 6.0},
        )

    return Task(
        name="kernel-friedman",
        group="tuning",
        space=space,
        evaluate=evaluate,
        n_objectives=2,
        constraint_names=("mse",),
        conditions=conditions,
        late_constraints=frozenset({"mse"}),
    )


TUNING_TASKS: Mapping[str, Callable[[], Task]] = {
    "tree-digits": tree_digits,
    "kinds-digits": kinds_digits,
    "boosting-diabetes": boosting_diabetes,
    "kernel-friedman": kernel_friedman,
}

REFERENCES: Mapping[str, tuple[float, ...]] = {"boosting-diabetes": (65.0, 2.3)}
"""About the median of random models: the front spans 3 of the 25 units of error that models differ by."""


def tuning_problem(name: str) -> Problem:
    """A tuning task with its best known front."""
    return Problem.from_front(TUNING_TASKS[name](), stored_front(name), reference=REFERENCES.get(name))
