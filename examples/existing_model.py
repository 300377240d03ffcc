"""A model is finished: in which precision, on how many threads and in which batches is it best served?

The ONNX file could come from anywhere; here scikit-learn makes one. Nothing is trained in the search: each
trial converts the file, runs it, measures it and scores what it puts out on the validation data.
"""

from pathlib import Path

import numpy as np
from skl2onnx import to_onnx
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

import moo
from objectives import Choices, OnnxTask, Split, Splits

MODEL = Path("finished.onnx")


def data() -> Splits:
    pixels, labels = load_digits(return_X_y=True)
    images = (pixels / 16).astype(np.float32)
    train_x, valid_x, train_y, valid_y = train_test_split(images, labels, test_size=600, random_state=0)
    return Splits(Split(train_x, train_y), Split(valid_x, valid_y))


def make_model() -> None:
    images, labels = data().train
    network = MLPClassifier((256, 256), max_iter=100, early_stopping=True, random_state=0).fit(images, labels)
    MODEL.write_bytes(to_onnx(network, images[:1], options={"zipmap": False}).SerializeToString())


if __name__ == "__main__":
    make_model()
    task = OnnxTask(
        MODEL,
        data,
        deploy=Choices(precision=("fp32", "fp16", "int8-dynamic", "int8-static"), batch=(1, 16)),
    )
    study = moo.optimize(
        task,
        maximize=["accuracy", "throughput"],
        minimize=["latency_p50", "file_size"],
        constraints=["accuracy >= baseline - 1%"],
        n_trials=20,  # it ends after the 8 that there are
        seed=0,
    )
    columns = ["param_deploy_precision", "param_deploy_batch", "accuracy", "latency_p50", "file_size"]
    print(study.front()[columns].to_string(index=False))
