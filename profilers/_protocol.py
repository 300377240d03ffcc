"""How long and how often a model is timed."""

from dataclasses import asdict, dataclass
from typing import Any

from profilers._statistics import interval_ranks, quantile_rank, smallest_n

LOOK_GROWTH = 1.25  # a look at the interval after each quarter more calls: few, for any may stop by luck


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """The rules of a measurement. Counts and times are for one launch, one fresh child process, unless said.

    A "call" below is a block of calls where one call is shorter than `min_block_s`.

    Attributes:
        mode: The name under which the protocol is reported.
        launches: Fewest fresh processes; with one, the spread between launches stays unseen (tag
            `single_launch`).
        max_launches: Most fresh processes; None for just `launches`. Launches are added while an interval is
            wider than sought.
        total_budget_s: No launch is added later than this after the first began, once there are 5 or all that
            are asked for.
        profile_s: How long to call the model, in a further process, under the runtime's own profiling, which
            tells of memory and operators; 0 for not at all.
        min_calls: Calls timed before the interval is looked at; only `time_budget_s` ends the timing earlier,
            and never before the 6 calls that the interval of a median needs.
        max_calls: Calls timed at most.
        min_time_s: The timing goes on at least this long, `max_calls` permitting, however narrow the
            interval, for a machine is not the same from one hundredth of a second to the next.
        time_budget_s: No call starts later than this after the timing began.
        precision_budget_s: Once `min_calls` are timed, precision is sought no later than this after the
            timing began.
        warmup_window: Calls in a warm-up window; two consecutive windows must agree.
        warmup_budget_s: No warm-up call starts later than this after the first call (tag `not_stationary`).
        min_block_s: Shorter calls are timed in blocks that take at least this long.
        p50_half_width: Target half-width of the 95% interval of p50, as a share of its value (tag
            `imprecise`).
        p95_half_width: The same for p95; not sought where calls are timed in blocks.

    Raises:
        ValueError: If a field has a value that cannot be.

    >>> Protocol(launches=5, min_calls=400).mode
    'custom'
    """

    mode: str = "custom"
    launches: int = 1
    max_launches: int | None = None
    total_budget_s: float = 600.0
    profile_s: float = 0.0
    min_calls: int = 72
    max_calls: int = 5000
    min_time_s: float = 0.15
    time_budget_s: float = 15.0
    precision_budget_s: float = 0.4
    warmup_window: int = 10
    warmup_budget_s: float = 2.0
    min_block_s: float = 50e-6
    p50_half_width: float = 0.02
    p95_half_width: float = 0.05

    def __post_init__(self) -> None:
        """Check every field."""
        least = {"launches": 1, "min_calls": 1, "max_calls": self.min_calls, "warmup_window": smallest_n(0.5)}
        for name, minimum in least.items():
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
                raise ValueError(f"{name} must be an integer of at least {minimum}, got {value!r}")
        if self.max_launches is not None and self.max_launches < self.launches:
            raise ValueError(f"max_launches must be at least {self.launches}, got {self.max_launches!r}")
        if not self.profile_s >= 0:
            raise ValueError(f"profile_s must be at least 0, got {self.profile_s!r}")
        for name in (
            "total_budget_s",
            "min_time_s",
            "time_budget_s",
            "precision_budget_s",
            "warmup_budget_s",
            "min_block_s",
            "p50_half_width",
            "p95_half_width",
        ):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be greater than 0, got {getattr(self, name)!r}")

    def to_json(self) -> dict[str, Any]:
        """The fields as a plain dict."""
        return asdict(self)

    def looks(self) -> list[dict[str, Any]]:
        """When the child looks at its samples, and at which order statistics, to see whether it may stop.

        Each look has `n`, and in `targets` for each quantile the 1-based ranks of its value and interval, the
        half-width sought, and whether it is a tail (not sought in blocks). A target that `n` cannot support
        is kept with null ranks: it is not reached at that look.
        """
        sizes, n = [], self.min_calls
        while n < self.max_calls:
            sizes.append(n)
            n = max(n + 1, int(n * LOOK_GROWTH))
        sizes.append(self.max_calls)
        goals = ((0.5, self.p50_half_width), (0.95, self.p95_half_width))
        return [{"n": n, "targets": [_target(n, q, half_width) for q, half_width in goals]} for n in sizes]


def _target(n: int, q: float, half_width: float) -> dict[str, Any]:
    return {
        "ranks": interval_ranks(n, q),
        "rank": quantile_rank(n, q),
        "half_width": half_width,
        "is_tail": q > 0.5,
    }


QUICK = Protocol(mode="quick")  # all included 0.4 s for a call of 0.4 ms, 2.4 s for 21 ms, 12 s for 115 ms
STANDARD = Protocol(
    mode="standard",
    launches=10,
    max_launches=20,
    total_budget_s=14.0,
    profile_s=0.5,
    min_calls=40,
    min_time_s=0.3,
    time_budget_s=2.0,
    precision_budget_s=0.4,
    warmup_budget_s=1.0,
)
RIGOROUS = Protocol(
    mode="rigorous",
    launches=15,
    max_launches=60,
    total_budget_s=120.0,
    profile_s=1.0,
    min_calls=80,
    min_time_s=0.6,
    time_budget_s=10.0,
    precision_budget_s=1.0,
    p50_half_width=0.01,
    p95_half_width=0.03,
)
MODES = {protocol.mode: protocol for protocol in (QUICK, STANDARD, RIGOROUS)}
