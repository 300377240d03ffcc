"""What is fed to a model, without a model."""

from pathlib import Path

import numpy as np
import pytest

from profilers._child._errors import UnusableModelError
from profilers._child._inputs import Inputs, made_array
from profilers._child._onnxruntime import BIT_TYPES, DTYPES
from profilers._child._runner import InputSpec


def spec(name: str, kind: str, *shape: int | str | None) -> InputSpec:
    known = DTYPES | {declared: dtype for declared, (_, dtype) in BIT_TYPES.items()}
    return InputSpec(name, known.get(kind), shape, kind)


def inputs(
    signature: list[InputSpec],
    *,
    batch: int = 1,
    folder: Path = Path(),
    arrays: dict | None = None,
    **request,
) -> Inputs:
    for name, array in (arrays or {}).items():
        np.save(folder / f"{name}.npy", array)
    files = {name: f"{name}.npy" for name in arrays} if arrays else None
    return Inputs(signature, {"runtime": {"batch": batch}, "inputs": files, **request}, folder)


def test_the_batch_is_found_wherever_its_name_occurs() -> None:
    feed = inputs(
        [
            spec("ids", "tensor(int64)", "batch", "sequence"),
            spec("mask", "tensor(bool)", "batch", "sequence"),
            spec("unnamed", "tensor(float)", None, 3),
            spec("memory", "tensor(float)", "past", "batch", 3),
            spec("fixed", "tensor(double)", 1, 2),
            spec("scalar", "tensor(float16)"),
        ],
        batch=5,
    ).feed(0)
    shapes = {name: array.shape for name, array in feed.items()}
    assert shapes == {
        "ids": (5, 1),
        "mask": (5, 1),
        "unnamed": (5, 3),
        "memory": (1, 5, 3),
        "fixed": (1, 2),
        "scalar": (),
    }


@pytest.mark.parametrize("kind", [*DTYPES, *BIT_TYPES])
def test_made_inputs_have_the_type_asked_for_and_depend_on_the_seed_alone(kind) -> None:
    x = spec("x", kind, "batch", 8)
    first, again = (inputs([x], batch=8).feed(0)["x"] for _ in range(2))
    other = inputs([x], batch=8, seed=1).feed(0)["x"]
    assert first.dtype == (object if x.dtype == "str" else x.dtype)
    assert (first == again).all()
    assert (first != other).any()
    assert len(np.unique(first)) > 1


@pytest.mark.parametrize("kind", [*DTYPES, *BIT_TYPES])
@pytest.mark.parametrize("shape", [(), (0, 3)])
def test_scalars_and_empty_inputs_of_every_type_are_made(kind, shape) -> None:
    array = inputs([spec("x", kind, *shape)]).feed(0)["x"]
    assert isinstance(array, np.ndarray)
    assert array.shape == shape


def test_the_feeds_differ() -> None:
    found = inputs([spec("x", "tensor(float)", "batch", 8)])
    assert found.count() == 4
    assert (found.feed(0)["x"] != found.feed(1)["x"]).all()


def test_wide_integers_are_valid_indices() -> None:
    ids = inputs([spec("x", "tensor(int64)", "batch")], batch=100).feed(0)["x"]
    assert set(np.unique(ids)) == {0, 1}


def test_floats_that_numpy_does_not_have_are_numbers_around_one() -> None:
    bits = made_array(spec("x", "tensor(bfloat16)", 100), (100,), np.random.default_rng(0))
    numbers = (bits.astype(np.uint32) << 16).view(np.float32)
    assert numbers.min() >= 0.5
    assert numbers.max() < 2


@pytest.mark.parametrize(
    "kind", ["seq(tensor(float))", "optional(tensor(float))", "map(string,float)", "tensor(int4)"]
)
def test_what_cannot_be_made_is_refused_by_name(kind) -> None:
    with pytest.raises(UnusableModelError) as caught:
        inputs([spec("x", "tensor(float)", 1), spec("odd", kind, 1)])
    assert str(caught.value) == (
        f"input 'odd' must be a tensor of numbers, booleans or text, got {kind}: "
        "export the model with a tensor of a type that numpy has"
    )


def test_an_input_of_unknown_rank_needs_a_shape() -> None:
    x = spec("x", "tensor(float)")
    with pytest.raises(
        UnusableModelError, match=r"input 'x' has no shape in the model: give one \(--input x="
    ):
        inputs([x], unranked=["x"])
    assert inputs([x], batch=2, unranked=["x"], shapes={"x": [1, 5]}).feed(0)["x"].shape == (2, 5)


def test_dimensions_whose_name_names_nothing_have_none() -> None:
    found = inputs([spec("x", "tensor(float)", "?", "?"), spec("z", "tensor(float)", "?", "-1")], batch=3)
    assert found.plan.shapes == {"x": (3, 1), "z": (3, 1)}
    assert found.plan.assumed == ("x[1]", "z[1]")


def test_given_inputs_are_sliced_along_the_batch_wherever_it_is(tmp_path) -> None:
    h, x = np.arange(60.0).reshape(2, 5, 6), np.arange(5.0)
    signature = [spec("h", "tensor(double)", 2, "batch", 6), spec("x", "tensor(double)", "batch")]
    found = inputs(signature, batch=2, folder=tmp_path, arrays={"h": h, "x": x})
    assert (found.rows(), found.count()) == (5, 2)
    assert (found.feed(1)["h"] == h[:, 2:4]).all()
    assert (found.feed(2)["h"] == h[:, 4:]).all()
    assert (found.feed(1)["x"] == x[2:4]).all()
    assert found.feed(1)["h"].flags.c_contiguous


def test_given_and_made_inputs_go_together(tmp_path) -> None:
    signature = [
        spec("mask", "tensor(bool)", "batch", "past + 1"),
        spec("key", "tensor(float)", "batch", "past", 8),
    ]
    found = inputs(signature, batch=2, folder=tmp_path, arrays={"mask": np.ones((4, 6), bool)})
    assert found.made() == ["key"]
    assert found.feed(1)["key"].shape == (2, 5, 8)
    assert [entry["source"] for entry in found.describe()] == ["given", "made"]
    with pytest.raises(UnusableModelError, match=r"inputs must be \['key', 'mask'\], got \['mask'\]"):
        found.check_all_given()


def test_given_text_is_fed_as_objects(tmp_path) -> None:
    found = inputs(
        [spec("x", "tensor(string)", "n", 1)], folder=tmp_path, arrays={"x": np.array([["a"], ["bc"]])}
    )
    assert found.feed(1)["x"].tolist() == [["bc"]]
    assert found.feed(1)["x"].dtype == object


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"arrays": {"q": np.ones((2, 3))}}, r"input 'q' must be one of the model's inputs, \['bits', 'x'\]"),
        ({"arrays": {"x": np.ones((2, 3))}}, "input 'x' must be float32, got float64: convert it first"),
        ({"arrays": {"x": np.ones((2, 3), ">f4")}}, "input 'x' must be float32, got >f4: convert it first"),
        ({"arrays": {"x": np.array([["a"]])}}, "input 'x' must be float32, got str: convert it first"),
        (
            {"arrays": {"bits": np.ones(2, np.float32)}},
            r"must be uint16, the bits of tensor\(bfloat16\), got float32",
        ),
        ({"arrays": {"x": np.ones(3, np.float32)}}, r"input 'x' must have shape \['batch', 3\], got \[3\]"),
        (
            {"arrays": {"x": np.ones((2, 4), np.float32)}},
            r"input 'x' must have shape \['batch', 3\], got \[2, 4\]",
        ),
        ({"shapes": {"q": [1, 3]}}, "input 'q' must be one of the model's inputs"),
        ({"shapes": {"x": [1, 4]}}, r"input 'x' must have shape \['batch', 3\], got \[1, 4\]"),
        ({"shapes": {"x": [-1, 3]}}, r"input 'x' must have shape \['batch', 3\], got \[-1, 3\]"),
        ({"shapes": {"x": [8, 3]}}, r"input 'x': axis 0 is the batch, 1, got 8: .*\(--batch 8\)"),
        ({"dtypes": {"q": "float32"}}, "input 'q' must be one of the model's inputs"),
        ({"dtypes": {"x": "float64"}}, "input 'x' must be float32, got float64"),
        (
            {"batch": 10**15},
            r"input 'x' must fit in memory, got shape \[1000000000000000, 3\]: take a smaller",
        ),
    ],
)
def test_what_does_not_fit_is_refused_by_name(tmp_path, request_, message) -> None:
    signature = [spec("x", "tensor(float)", "batch", 3), spec("bits", "tensor(bfloat16)", 2)]
    with pytest.raises(UnusableModelError, match=message):
        inputs(signature, folder=tmp_path, **request_)


def test_given_rows_must_agree_and_fill_a_batch(tmp_path) -> None:
    signature = [spec("x", "tensor(double)", "batch"), spec("z", "tensor(double)", "batch")]
    found = inputs(signature, batch=4, folder=tmp_path, arrays={"x": np.ones(5), "z": np.ones(6)})
    with pytest.raises(UnusableModelError, match=r"must have the same number of rows, got {'x': 5, 'z': 6}"):
        found.rows()
    found = inputs(signature, batch=8, folder=tmp_path, arrays={"x": np.ones(5)})
    with pytest.raises(UnusableModelError, match="must have at least one batch of 8 rows, got 5"):
        found.count()


def test_a_fixed_shape_that_is_not_the_batch_is_checked_whole(tmp_path) -> None:
    x = spec("x", "tensor(double)", 4, 3)
    with pytest.raises(UnusableModelError, match=r"input 'x' must have shape \[4, 3\], got \[8, 3\]"):
        inputs([x], batch=1, folder=tmp_path, arrays={"x": np.ones((8, 3))})
    assert inputs([x], batch=4, folder=tmp_path, arrays={"x": np.ones((8, 3))}).rows() == 8
