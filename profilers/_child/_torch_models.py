"""PyTorch models: from an archive of `torch.export.save`, or from a function in a Python file."""

import inspect
import os
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from profilers._child._errors import UnusableModelError
from profilers._child._runner import InputSpec

DTYPES = {  # torch's name of the type: numpy's
    f"torch.{name}": name
    for name in (
        *("float64", "float32", "float16", "bool"),
        *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
    )
}
BIT_TYPES = {  # types numpy does not have are handed over as their bits: torch's name, and what carries it
    "torch.bfloat16": "uint16",
    "torch.float8_e4m3fn": "uint8",
    "torch.float8_e4m3fnuz": "uint8",
    "torch.float8_e5m2": "uint8",
    "torch.float8_e5m2fnuz": "uint8",
}
BATCH = "batch"  # the dimension that leads an example input
MARKS = ("/archive_format", "/serialized_exported_program.json")  # records of an archive, now and up to 2.7
REFUSED_RECORDS = {  # what no plain archive holds
    "/data/aotinductor/": "machine code",
    "/data/constants/opaque_obj_": "pickled objects",
}
REFUSAL = "expected an archive of weights and operators, got one with {}: export it without"
# what Python raises where a model or its inputs are at fault, besides RuntimeError, torch's own
FAULTS = (ArithmeticError, AssertionError, AttributeError, LookupError, OSError, TypeError, ValueError)

Tensors = Mapping[str, Any]
Arguments = tuple[Sequence[Any], Mapping[str, Any]]  # by position and by name


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model, and how to call it.

    Attributes:
        module: What is called.
        inputs: The inputs, in the model's order.
        arguments: What `module` is called with, from a tensor for each input by name.
        output_names: The names of the outputs; a function, for it may take a call of the model with examples,
            which are put where `module` is by the function that it is given.
    """

    module: Any
    inputs: tuple[InputSpec, ...]
    arguments: Callable[[Tensors], Arguments]
    output_names: Callable[[Callable[[Any], Any]], list[str]]


def split_model(model: str) -> tuple[str, str | None]:
    """The file of a model, and the function in it that makes the model; None for an archive.

    Raises:
        ValueError: If it is neither.

    >>> split_model("models/small.py:make"), split_model("small.pt2")
    (('models/small.py', 'make'), ('small.pt2', None))
    """
    file, _, function = model.rpartition(":")
    if file.endswith(".py") and function.isidentifier():
        return file, function
    if model.endswith(".pt2"):
        return model, None
    raise ValueError(f"expected a .pt2 archive of torch.export.save or FILE.py:FUNCTION, got {model!r}")


def load_model(model: str, device: str = "cpu") -> LoadedModel:
    """The model from its archive or its function, on the device of that name in torch.

    Raises:
        UnusableModelError: If there is no usable model.
    """
    file, function = split_model(model)
    return from_archive(file, device) if function is None else from_function(file, function, device)


def from_archive(path: str, device: str = "cpu") -> LoadedModel:
    """The model in an archive of `torch.export.save`.

    Loading one evaluates text that is in it, whatever torch is told, so an archive is to be trusted as much
    as a program. What can be kept out is kept out: machine code, and whatever must be unpickled freely.
    """
    import torch
    from torch.export.passes import move_to_device_pass

    check_records(path)
    os.environ.pop("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", None)
    os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"  # torch.export.load asks for free unpickling itself
    try:
        program = torch.export.load(path)
        if device != "cpu":  # with the constants and devices that its graph names
            program = move_to_device_pass(program, device)
        module = program.module()
    except UnpicklingError as error:
        raise UnusableModelError(REFUSAL.format("pickled objects")) from error
    except (*FAULTS, RuntimeError) as error:
        raise UnusableModelError(
            f"torch.export.load fails with {described(error)}: export it again, with this version of torch"
        ) from error
    outputs = program.graph_signature.user_outputs

    def output_names(place: Callable[[Any], Any]) -> list[str]:  # noqa: ARG001  (the archive tells them)
        return [name for name, _ in named_leaves(program.call_spec.out_spec.unflatten(list(outputs)))]

    return LoadedModel(module, *exported_inputs(program), output_names)


def check_records(path: str) -> None:
    """Check that the archive is whole, and holds nothing that would have to be trusted even more.

    Raises:
        UnusableModelError: If it is not so.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = [f"/{name}" for name in archive.namelist()]
    except zipfile.BadZipFile:
        names = []
    if not any(name.endswith(MARKS) for name in names):  # part of an archive may look like one of its weights
        raise UnusableModelError(
            "expected a .pt2 archive of torch.export.save, got something else or a part of one: "
            "export or copy it again"
        )
    for part, what in REFUSED_RECORDS.items():
        if any(part in name for name in names):
            raise UnusableModelError(REFUSAL.format(what))


def exported_inputs(program: Any) -> tuple[tuple[InputSpec, ...], Callable[[Tensors], Arguments]]:
    """The inputs of an exported program, and what its module is called with."""
    from torch.export.graph_signature import ConstantArgument, InputKind

    examples = {node.name: node.meta["val"] for node in program.graph.nodes if node.op == "placeholder"}
    given = [spec.arg for spec in program.graph_signature.input_specs if spec.kind == InputKind.USER_INPUT]
    inputs = [input_spec(arg.name, examples[arg.name]) for arg in given if type(arg) is not ConstantArgument]

    def arguments(tensors: Tensors) -> Arguments:
        values = [arg.value if type(arg) is ConstantArgument else tensors[arg.name] for arg in given]
        positional, named = program.call_spec.in_spec.unflatten(values)
        return positional, named

    return tuple(inputs), arguments


def from_function(file: str, function: str, device: str = "cpu") -> LoadedModel:
    """The model and the example inputs that a function in a person's own file returns.

    The leading dimension of each example is the batch, and the others are fixed. Files beside this one can be
    imported by it; the working folder is another, so it must find its data by `__file__`.
    """
    module, examples = returned(file, function)
    module.eval()
    given = by_name(module, examples)
    module.to(device)
    inputs = tuple(with_batch(input_spec(name, example)) for name, example in given.items())
    is_named = isinstance(examples, Mapping)

    def arguments(tensors: Tensors) -> Arguments:
        return ((), dict(tensors)) if is_named else (tuple(tensors[name] for name in given), {})

    def output_names(place: Callable[[Any], Any]) -> list[str]:
        positional, named = arguments({name: place(example) for name, example in given.items()})
        return [name for name, _ in named_leaves(module(*positional, **named))]

    return LoadedModel(module, inputs, arguments, output_names)


def returned(file: str, function: str) -> tuple[Any, Any]:
    """What the function returns, a module and its example inputs."""
    import torch

    sys.path.insert(0, str(Path(file).parent))
    spec = spec_from_file_location(f"_model_{Path(file).stem}", file)  # hides no module of that name
    assert spec is not None
    assert spec.loader is not None
    code = sys.modules[spec.name] = module_from_spec(spec)
    try:
        spec.loader.exec_module(code)
    except Exception as error:  # a person's own code may raise anything
        raise UnusableModelError(f"the file raised {described(error)}") from error
    if not callable(make := getattr(code, function, None)):
        raise UnusableModelError(f"the file has no function {function!r}")
    try:
        result = make()
    except Exception as error:
        raise UnusableModelError(f"function {function!r} raised {described(error)}") from error
    if isinstance(result, tuple) and len(result) == 2 and isinstance(result[0], torch.nn.Module):
        return result
    got = [type(item).__name__ for item in result] if isinstance(result, tuple) else type(result).__name__
    raise UnusableModelError(
        f"function {function!r} must return a tuple of a torch.nn.Module and its example inputs, got {got}"
    )


def by_name(module: Any, examples: Any) -> dict[str, Any]:
    """The example inputs by the names of what `forward` takes."""
    if not isinstance(examples, tuple | Mapping):
        raise UnusableModelError(
            f"example inputs must be a dict by name or a tuple, got {type(examples).__name__}"
        )
    positional, named = ((), examples) if isinstance(examples, Mapping) else (examples, {})
    try:
        inspect.signature(module.forward).bind(*positional, **named)
    except TypeError as error:
        raise UnusableModelError(f"example inputs must be what forward takes: {error}") from error
    if isinstance(examples, Mapping):
        return {str(name): example for name, example in examples.items()}
    return dict(zip(parameter_names(module, len(examples)), examples, strict=True))


def parameter_names(module: Any, n: int) -> list[str]:
    """The names of the first n parameters of `forward`; those of `*rest` are numbered."""
    names: list[str] = []
    for parameter in inspect.signature(module.forward).parameters.values():
        if parameter.kind == parameter.VAR_POSITIONAL:
            return [*names, *(f"{parameter.name}_{index}" for index in range(n - len(names)))]
        names.append(parameter.name)
    return names[:n]


def input_spec(name: str, example: Any) -> InputSpec:
    """The input that the example, real or traced, is one of."""
    import torch

    if not isinstance(example, torch.Tensor):
        return InputSpec(name, None, (), type(example).__name__)
    declared = str(example.dtype)
    is_plain = example.layout == torch.strided
    dtype = DTYPES.get(declared) or BIT_TYPES.get(declared)
    shape = tuple(size if isinstance(size, int) else str(size) for size in example.shape)
    return InputSpec(name, dtype if is_plain else None, shape, declared if is_plain else str(example.layout))


def with_batch(spec: InputSpec) -> InputSpec:
    """The input with the batch for its leading dimension."""
    return InputSpec(spec.name, spec.dtype, (BATCH, *spec.shape[1:]) if spec.shape else (), spec.declared)


def named_leaves(called: Any) -> Iterator[tuple[str, Any]]:
    """What a model gave, each with its name: the keys of dicts, and `output_<i>` where there are none.

    Keys and numbers of what is nested are joined by `_`; None is left out.

    >>> dict(named_leaves({"y": 1, "state": (2, None, 3)}))
    {'y': 1, 'state_0': 2, 'state_2': 3}
    >>> dict(named_leaves((1, (2, 3)))), dict(named_leaves(4))
    ({'output_0': 1, 'output_1_0': 2, 'output_1_1': 3}, {'output_0': 4})
    """
    if isinstance(called, Mapping):
        for key, item in called.items():
            yield from _leaves(str(key), item)
    else:
        yield from _leaves("output", called if isinstance(called, tuple | list) else (called,))


def _leaves(name: str, item: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(item, Mapping | tuple | list):
        pairs = item.items() if isinstance(item, Mapping) else enumerate(item)
        for key, nested in pairs:
            yield from _leaves(f"{name}_{key}", nested)
    elif item is not None:
        yield name, item


def described(error: BaseException) -> str:
    """An error in a few words.

    >>> described(KeyError("weights"))
    "KeyError: 'weights'"
    """
    return f"{type(error).__name__}: {error}"
