"""scikit-learn's estimators as candidates: folds, export, and the check against the estimator."""
