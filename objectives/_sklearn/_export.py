"""From a fitted scikit-learn estimator to an ONNX file."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, is_classifier
from sklearn.preprocessing import StandardScaler

from moo.errors import ExportError, TaskLoadError
from objectives._cause import innermost_cause
from objectives._sklearn._inputs import has_part
from objectives._sklearn._size import predictor

if TYPE_CHECKING:
    import onnx

__all__ = ["TARGET_OPSET", "convert", "converter", "input_names", "write", "write_typed"]

TARGET_OPSET = {"": 18, "ai.onnx.ml": 3}
"""What skl2onnx converts to: old enough that every ONNX Runtime since 1.14 runs it."""

_CANNOT = {
    "HistGradientBoosting": "use GradientBoosting or RandomForest, which convert",
    "LinearSVC": "use SVC(kernel='linear'), SGDClassifier or LogisticRegression, which convert",
    "FunctionTransformer": "do what it does in data(), and again where the model is served",
    "TransformedTargetRegressor": "transform the targets in data() and the values in a score of your own",
}
_ELEMENTS = {  # ONNX Runtime's names of types, and ONNX's numbers
    "float": 1,
    "uint8": 2,
    "int8": 3,
    "int32": 6,
    "int64": 7,
    "string": 8,
    "bool": 9,
    "float16": 10,
    "double": 11,
}
_OTHERWISE = "random forests, gradient boosting, linear models, SVMs, k neighbours and MLPs convert"


def converter() -> Callable[..., onnx.ModelProto]:
    try:
        from skl2onnx import to_onnx  # type: ignore[import-untyped, unused-ignore]
    except ModuleNotFoundError as error:
        raise TaskLoadError(
            f"SklearnTask needs {error.name}, which is not installed: pip install 'moo-deploy[sklearn]'"
        ) from error
    return to_onnx  # type: ignore[no-any-return, unused-ignore]


def convert(estimator: BaseEstimator, types: list[tuple[str, Any]]) -> onnx.ModelProto:
    """Return the estimator as an ONNX model: labels and an array of scores, no list of dictionaries.

    Raises:
        ExportError: Where skl2onnx cannot, with what to do instead.
    """
    options: dict[Any, dict[str, Any]] = (
        {id(estimator): {"zipmap": False}} if is_classifier(estimator) else {}
    )
    if _has_trees(predictor(estimator)) and has_part(estimator, StandardScaler):
        # divided as scikit-learn does: times the reciprocal, the default, rounds past thresholds
        options[StandardScaler] = {"div": "div"}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return converter()(
                estimator, initial_types=types, options=options or None, target_opset=TARGET_OPSET
            )
    except Exception as error:  # whatever the converter meets in a person's estimator
        names = _names(estimator)
        instead = next((what for word, what in _CANNOT.items() if word in names), _OTHERWISE)
        raise ExportError(f"skl2onnx cannot convert {names} ({innermost_cause(error)}): {instead}") from error


def _has_trees(estimator: BaseEstimator) -> bool:
    members = np.ravel(np.asarray(getattr(estimator, "estimators_", []), dtype=object))
    return any(getattr(one, "tree_", None) is not None for one in [estimator, *members])


def _names(estimator: BaseEstimator) -> str:
    """Return the estimator's class, with those of its parts where it has some.

    >>> from sklearn.linear_model import Ridge
    >>> from sklearn.pipeline import Pipeline
    >>> _names(Pipeline([("only", Ridge())]))
    'Pipeline(Ridge)'
    """
    parts = [part for part in estimator.get_params().values() if isinstance(part, BaseEstimator)]
    inside = ", ".join(type(part).__name__ for part in parts)
    return f"{type(estimator).__name__}({inside})" if inside else type(estimator).__name__


def write(model: onnx.ModelProto, path: Path) -> list[str]:
    """Write the model with its batch dimension named; returns the names of its inputs, in order."""
    for value in [*model.graph.input, *model.graph.output]:
        if value.type.tensor_type.shape.dim:
            value.type.tensor_type.shape.dim[0].dim_param = "batch"
    versions = {entry.domain: entry.version for entry in model.opset_import}  # skl2onnx may repeat one
    del model.opset_import[:]
    for domain, version in versions.items():
        model.opset_import.add(domain=domain, version=version)
    try:
        path.write_bytes(model.SerializeToString())
    except ValueError as error:  # protobuf ends at 2 GiB
        raise ExportError(f"the model cannot be written as one file of less than 2 GiB: {error}") from error
    return [value.name for value in model.graph.input]


def write_typed(source: Path, target: Path) -> None:
    """Write a model that states the type of each of its tensors, as ONNX Runtime finds them.

    skl2onnx states none, and ONNX's own inference ends at the first operator that is not its own, such as a
    scaler; what quantises a model must know them.

    Raises:
        ExportError: If ONNX Runtime cannot load the model.
    """
    import onnx

    from objectives._compression._onnx_files import open_session

    model = onnx.load(source)
    stated = {value.name for value in model.graph.output}
    inner = [name for node in model.graph.node for name in node.output if name and name not in stated]
    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    whole.graph.output.extend(onnx.ValueInfoProto(name=name) for name in inner)
    onnx.save(whole, target)
    found = {item.name: item for item in open_session(target, 1, "ORT_DISABLE_ALL").get_outputs()}
    del model.graph.value_info[:]
    for name in inner:
        item = found[name]
        kind = _ELEMENTS.get(item.type.removeprefix("tensor(").removesuffix(")"))
        if kind is not None:  # else a sequence or a map
            shape = [size if isinstance(size, int) else None for size in item.shape or ()] or None
            model.graph.value_info.append(onnx.helper.make_tensor_value_info(name, kind, shape))
    onnx.save(model, target)


def input_names(path: Path) -> list[str]:
    """Return the names of a written model's inputs, in order."""
    import onnx

    return [value.name for value in onnx.load(path, load_external_data=False).graph.input]
