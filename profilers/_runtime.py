"""How a model is run: the knobs that turn an artefact into a candidate."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

ONNXRUNTIME_KNOBS = ("graph_optimization_level", "allow_spinning", "enable_arena")
OPTIMIZATION_LEVELS = ("disable", "basic", "extended", "all")


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """Execution provider, threads, graph optimisation and batch size, all set explicitly in the session.

    Whether a provider is there is for the profiler to say, not for this record.

    Attributes:
        provider: Short lower-case name of the execution provider, such as "cpu"; of several devices of a
            kind one by its number, such as "cuda:1".
        intra_op_num_threads: Threads inside one operator. The threads between operators are always 1.
        graph_optimization_level: "disable", "basic", "extended" or "all".
        allow_spinning: Whether idle threads burn a core while they wait for work.
        enable_arena: Whether freed memory is kept for the next call rather than given back.
        batch: Rows in one call.
        options: Further settings that the provider knows, text by name; kept as sorted pairs. Which there are
            is for the profiler to say.

    Raises:
        ValueError: If a field has a value that cannot be.

    >>> Runtime(batch=8).intra_op_num_threads
    1
    >>> Runtime(options={"session.set_denormal_as_zero": "1"}).options
    (('session.set_denormal_as_zero', '1'),)
    """

    provider: str = "cpu"
    intra_op_num_threads: int = 1
    graph_optimization_level: str = "all"
    allow_spinning: bool = False
    enable_arena: bool = True
    batch: int = 1
    options: tuple[tuple[str, str], ...] | Mapping[str, str] = ()

    def __post_init__(self) -> None:
        """Check every field."""
        if not isinstance(self.provider, str) or not self.provider:
            raise ValueError(f"provider must be a name such as 'cpu', got {self.provider!r}")
        _, separator, index = self.provider.partition(":")
        if separator and not (index.isascii() and index.isdigit()):
            raise ValueError(
                f"provider must be a name, or one with a number as cuda:1, got {self.provider!r}"
            )
        for name, value in (("intra_op_num_threads", self.intra_op_num_threads), ("batch", self.batch)):
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{name} must be an integer of at least 1, got {value!r}")
        if self.graph_optimization_level not in OPTIMIZATION_LEVELS:
            expected = ", ".join(OPTIMIZATION_LEVELS)
            raise ValueError(
                f"graph_optimization_level must be one of {expected}, got {self.graph_optimization_level!r}"
            )
        for name, value in (("allow_spinning", self.allow_spinning), ("enable_arena", self.enable_arena)):
            if not isinstance(value, bool):
                raise ValueError(f"{name} must be True or False, got {value!r}")
        if not isinstance(self.options, Mapping | tuple):
            raise ValueError(f"options must be text by name, got {self.options!r}")
        pairs = list(dict(self.options).items())
        for key, text in pairs:
            if not isinstance(key, str) or not key or not isinstance(text, str):
                raise ValueError(f"options must be text by name, got {key!r}: {text!r}")
        object.__setattr__(self, "options", tuple(sorted(pairs)))

    @property
    def provider_name(self) -> str:
        """The provider without the number of its device.

        >>> Runtime(provider="cuda:1").provider_name
        'cuda'
        """
        return self.provider.partition(":")[0]

    def has(self, knob: str) -> bool:
        """Whether the provider has the setting of that field at all.

        >>> Runtime(provider="torch").has("enable_arena")
        False
        """
        return not (self.provider.startswith("torch") and knob in ONNXRUNTIME_KNOBS)

    def to_json(self) -> dict[str, Any]:
        """The fields as a plain dict; null where the provider has no such setting.

        >>> Runtime(provider="torch").to_json()["enable_arena"] is None
        True
        """
        values = asdict(self) | {"options": dict(self.options)}
        return {name: value if self.has(name) else None for name, value in values.items()}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """The runtime of which `to_json` gave the record.

        >>> Runtime.from_json(Runtime(provider="torch").to_json()) == Runtime(provider="torch")
        True
        """
        return cls(**{name: value for name, value in record.items() if value is not None})
