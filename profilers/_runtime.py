"""How a model is run: the knobs that turn an artefact into a candidate."""

from dataclasses import dataclass

OPTIMIZATION_LEVELS = ("disable", "basic", "extended", "all")


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """Execution provider, threads, graph optimisation and batch size, all set explicitly in the session.

    Whether a provider is there is for the profiler to say, not for this record.

    Attributes:
        provider: Short lower-case name of the execution provider, such as "cpu".
        intra_op_num_threads: Threads inside one operator. The threads between operators are always 1.
        graph_optimization_level: "disable", "basic", "extended" or "all".
        allow_spinning: Whether idle threads burn a core while they wait for work.
        enable_arena: Whether freed memory is kept for the next call rather than given back.
        batch: Rows in one call.

    Raises:
        ValueError: If a field has a value that cannot be.

    >>> Runtime(batch=8).intra_op_num_threads
    1
    """

    provider: str = "cpu"
    intra_op_num_threads: int = 1
    graph_optimization_level: str = "all"
    allow_spinning: bool = False
    enable_arena: bool = True
    batch: int = 1

    def __post_init__(self) -> None:
        """Check every field."""
        if not isinstance(self.provider, str) or not self.provider:
            raise ValueError(f"provider must be a name such as 'cpu', got {self.provider!r}")
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
