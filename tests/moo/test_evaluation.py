import json

import pytest

from moo.evaluation import Artefact, Estimate, Evaluation

FULL = Evaluation(
    metrics={"accuracy": Estimate(0.9, 0.8, 0.95), "latency_p95": Estimate(None, None, 1e-4, "too short")},
    tags=("single_launch",),
    artefact=Artefact(path="trials/00001/model.onnx", sha256="ab", bytes=3),
    runtime={"provider": "cpu"},
    environment="0123",
    files={"samples": "trials/00001/samples.npz"},
    curve=((1, {"accuracy": 0.5}),),
    seconds={"fit": 1.5},
)


@pytest.mark.parametrize("evaluation", [FULL, Evaluation(metrics={})])
def test_an_evaluation_survives_strict_json(evaluation: Evaluation) -> None:
    text = json.dumps(evaluation.to_json(), allow_nan=False)
    assert Evaluation.from_json(json.loads(text)) == evaluation


def test_another_schema_is_refused() -> None:
    with pytest.raises(ValueError, match="moo.evaluation/1"):
        Evaluation.from_json({"schema": "moo.evaluation/2"})


@pytest.mark.parametrize("ends", [(float("nan"), None, None), (1.0, 2.0, 3.0), (None, 2.0, 1.0)])
def test_an_estimate_that_cannot_be_is_refused(ends) -> None:
    with pytest.raises(ValueError, match="estimate cannot be NaN|low <= value <= high"):
        Estimate(*ends)
