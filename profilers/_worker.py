"""The child process: loads one model and measures or runs it.

A program of its own, started by path, which imports nothing but the standard library, numpy and onnxruntime
(and psutil where the kernel cannot tell the peak memory). It reads ``request.json``, and writes its results
into the folder that holds the request: ``result.json``, ``*.npy``, and ``stage`` with the stage it has
reached.

The order of the stages is chosen for the memory: the peak is read after the first call and one call with each
further input, one input alive at a time, and before the inputs to rotate and the arrays for the samples
exist. Those belong to the measurement and not to the model.
"""

import ctypes
import gc
import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, perf_counter_ns, thread_time_ns
from typing import Any

PR_SET_PDEATHSIG = 1
MOST_FEEDS = 64  # inputs rotated through; more would only fill the memory that is measured
N_MADE_INPUTS = 4  # inputs to rotate when none are given
FEWEST_MEMORY_CALLS = 2  # the second call may need twice the memory of the first, in ONNX Runtime's arena
LARGEST_BLOCK = 2**16  # calls in a block; even a call of 1 ns would not need more
LEVELS = {
    "disable": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "all": "ORT_ENABLE_ALL",
}
MADE_TYPES = {  # ONNX Runtime's name of the type: numpy's
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(bool)": "bool",
    **{f"tensor({sign}int{bits})": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}

Feed = dict[str, Any]


class UnusableModelError(Exception):
    """The model, or an input for it, cannot be used: becomes `ModelError` in the parent."""


class Inputs:
    """The feeds of a session: made from its signature, or slices of the arrays in the request.

    The batch dimension is the first symbolic leading dimension, wherever its name appears as a leading
    dimension; unnamed symbolic leading dimensions count as it. In a model with no symbolic leading dimension,
    inputs whose fixed leading dimension equals the batch are batched. Every other input is given whole to
    each call.
    """

    def __init__(self, signature: list[Any], request: dict[str, Any], folder: Path) -> None:
        self._signature = signature
        self._batch: int = request["runtime"]["batch"]
        self._seed = request.get("seed", 0)
        self._batched = self._batched_names()
        self._is_given = request["inputs"] is not None
        self._files = {name: folder / file for name, file in (request["inputs"] or {}).items()}
        self._check_types()
        if self._is_given:
            self._check_given()

    def _batched_names(self) -> set[str]:
        leading = {item.name: item.shape[0] for item in self._signature if item.shape}
        symbolic = {name: size for name, size in leading.items() if not isinstance(size, int)}
        if symbolic:
            first = next(iter(symbolic.values()))
            return {name for name, size in symbolic.items() if size is None or size == first}
        batched = {name for name, size in leading.items() if size == self._batch}
        if self._batch > 1 and not batched:
            shapes = ", ".join(f"{item.name!r} {item.shape}" for item in self._signature)
            raise UnusableModelError(
                f"no input takes a batch of {self._batch}, got {shapes}: "
                "set the batch to the fixed size, or export with a dynamic batch"
            )
        return batched

    def _check_types(self) -> None:
        for item in self._signature:
            if item.type not in MADE_TYPES:
                raise UnusableModelError(
                    f"input {item.name!r} must be a tensor of numbers or booleans, got {item.type}: "
                    "export the model without it"
                )

    def _check_given(self) -> None:
        expected, given = {item.name for item in self._signature}, set(self._files)
        if expected != given:
            raise UnusableModelError(f"inputs must be {sorted(expected)}, got {sorted(given)}")
        for item in self._signature:
            wanted, array = MADE_TYPES[item.type], self._stored(item.name)
            if str(array.dtype) != wanted:
                raise UnusableModelError(
                    f"input {item.name!r} must be {wanted}, got {array.dtype}: convert it first"
                )
            if len(item.shape) != array.ndim:
                raise UnusableModelError(
                    f"input {item.name!r} must have shape {item.shape}, got {list(array.shape)}"
                )

    def _stored(self, name: str) -> Any:
        import numpy as np

        return np.load(self._files[name], mmap_mode="r")

    def rows(self) -> int:
        """Rows in the given inputs, the same for all batched ones; 1 where nothing is batched."""
        counts = {name: len(self._stored(name)) for name in sorted(self._batched)}
        if len(set(counts.values())) > 1:
            raise UnusableModelError(f"inputs must have the same number of rows, got {counts}")
        return int(next(iter(counts.values()), 1))

    def check_last_batch(self) -> None:
        """Refuse rows that leave a smaller last batch for a model whose batch is fixed."""
        is_fixed = any(item.shape[0] == self._batch for item in self._signature if item.name in self._batched)
        if is_fixed and self.rows() % self._batch:
            raise UnusableModelError(
                f"inputs must have a multiple of {self._batch} rows, the model's fixed batch, "
                f"got {self.rows()}"
            )

    def count(self) -> int:
        """How many different feeds of a full batch there are."""
        if not self._is_given:
            return N_MADE_INPUTS
        rows = self.rows()
        if self._batched and rows < self._batch:
            raise UnusableModelError(f"inputs must have at least one batch of {self._batch} rows, got {rows}")
        return min(MOST_FEEDS, max(1, rows // self._batch))

    def feed(self, index: int) -> Feed:
        """Feed number `index`, in memory of its own."""
        return {item.name: self._array(item, index) for item in self._signature}

    def _array(self, item: Any, index: int) -> Any:
        import numpy as np

        if not self._is_given:
            return made_array(item, self._shape(item), np.random.default_rng([self._seed, index]))
        array = self._stored(item.name)
        if item.name in self._batched:
            array = array[index * self._batch : (index + 1) * self._batch]
        return np.array(array, order="C")

    def _shape(self, item: Any) -> list[int]:
        shape = [size if isinstance(size, int) else 1 for size in item.shape]
        return [self._batch, *shape[1:]] if item.name in self._batched else shape


def made_array(item: Any, shape: list[int], generator: Any) -> Any:
    """An array for a model input: floats normal, booleans fair, 8-bit integers of any size, wider 0 or 1.

    Wider integers are mostly indices, such as token numbers, and 0 and 1 are valid in all but the smallest
    tables.
    """
    import numpy as np

    dtype = np.dtype(MADE_TYPES[item.type])
    if dtype.kind == "f":
        normal = generator.standard_normal(shape, np.float64 if dtype.itemsize == 8 else np.float32)
        return np.asarray(normal, dtype)
    if dtype.itemsize == 1 and dtype.kind != "b":
        limits = np.iinfo(dtype)
        return generator.integers(limits.min, limits.max, shape, dtype, endpoint=True)
    return generator.integers(0, 2, shape, dtype)


def open_session(model: str, runtime: dict[str, Any]) -> Any:
    """An ONNX Runtime session on the CPU with every knob set explicitly."""
    import onnxruntime  # type: ignore[import-untyped, unused-ignore]

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = runtime["intra_op_num_threads"]
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    level = LEVELS[runtime["graph_optimization_level"]]
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    spinning = "1" if runtime["allow_spinning"] else "0"
    options.add_session_config_entry("session.intra_op.allow_spinning", spinning)
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=runtime["providers"])


def reset_peak(process: Path) -> bool:
    """Forget the peak of the resident memory; False where the system cannot."""
    try:
        (process / "clear_refs").write_text("5")
    except OSError:
        return False
    return True


def status_bytes(process: Path, field: str) -> int | None:
    """A field of ``/proc/<pid>/status`` in bytes; None where there is none."""
    try:
        lines = (process / "status").read_text().splitlines()
    except OSError:
        return None
    kibibytes = [line.split()[1] for line in lines if line.startswith(f"{field}:")]
    return int(kibibytes[0]) * 1024 if kibibytes else None


def resident_bytes() -> int | None:
    """Resident memory now, by psutil; None where psutil is not installed."""
    try:
        import psutil  # type: ignore[import-untyped, unused-ignore]
    except ImportError:
        return None
    return int(psutil.Process().memory_info().rss)


class Timer:
    """Times calls in blocks, into arrays that exist beforehand."""

    def __init__(self, call: Callable[[Feed], Any], feeds: list[Feed], n: int) -> None:
        import numpy as np

        self._call = call
        self._feeds = feeds
        self.wall_ns = np.full(n, 0, np.int64)  # written once, so that timing meets no page fault
        self.cpu_ns = np.full(n, 0, np.int64)

    def blocks(self, calls_per_block: int) -> list[tuple[Feed, ...]]:
        """Tuples of feeds, one for each block in turn: every call of a block gets the next input."""
        feeds, n, k = self._feeds, len(self._feeds), calls_per_block
        return [tuple(feeds[(start * k + i) % n] for i in range(k)) for start in range(n)]

    def fill(self, blocks: list[tuple[Feed, ...]], start: int, stop: int, deadline_ns: int) -> int:
        """Time the samples from `start` up to `stop`; returns where it ended, earlier at the deadline."""
        call, wall, cpu, n = self._call, self.wall_ns, self.cpu_ns, len(blocks)
        for i in range(start, stop):
            block = blocks[i % n]
            cpu_before = thread_time_ns()
            before = perf_counter_ns()
            for feed in block:
                call(feed)
            after = perf_counter_ns()
            cpu[i] = thread_time_ns() - cpu_before
            wall[i] = after - before
            if after >= deadline_ns:
                return i + 1
        return stop


def windows_agree(first: Any, second: Any, ranks: tuple[int, int]) -> bool:
    """Whether the median intervals of two windows overlap and there is no downward trend through both.

    The trend is Mann and Kendall's: the statistic S over all pairs, in its normal approximation, at 2.5%.
    """
    import numpy as np

    low, high = ranks[0] - 1, ranks[1] - 1
    a, b = np.sort(first), np.sort(second)
    both = np.concatenate([first, second]).astype(np.float64)
    n = len(both)
    s = np.sign(both[None, :] - both[:, None])[np.triu_indices(n, 1)].sum()
    is_falling = s < -1.96 * (n * (n - 1) * (2 * n + 5) / 18) ** 0.5
    return bool(a[low] <= b[high] and b[low] <= a[high] and not is_falling)


def warm_up(timer: Timer, request: dict[str, Any], deadline_ns: int) -> tuple[int, int, bool]:
    """Call until two consecutive windows agree; returns the calls in a block, the calls made, and if they do.

    The calls in a block grow, and the windows start over, while the shortest block of a window is too
    short; that is settled even when there is no time left, for such blocks take none.
    """
    window, ranks, shortest_ns = request["warmup_window"], request["warmup_ranks"], request["min_block_ns"]
    calls_per_block, n_calls, previous = 1, 0, None
    while True:
        window_end_ns = max(deadline_ns, perf_counter_ns() + 2 * window * shortest_ns)
        n_blocks = timer.fill(timer.blocks(calls_per_block), 0, window, window_end_ns)
        n_calls += n_blocks * calls_per_block
        wall_ns = timer.wall_ns[:n_blocks].copy()
        if wall_ns.min() < shortest_ns and calls_per_block < LARGEST_BLOCK:
            enough = -(-calls_per_block * shortest_ns // max(1, int(wall_ns.min())))
            calls_per_block, previous = min(LARGEST_BLOCK, max(calls_per_block + 1, int(enough))), None
        elif n_blocks == window and previous is not None and windows_agree(previous, wall_ns, ranks):
            return calls_per_block, n_calls, True
        elif perf_counter_ns() >= deadline_ns:
            return calls_per_block, n_calls, False
        else:
            previous = wall_ns


def is_precise(wall_ns: Any, targets: list[dict[str, Any]], *, is_batched: bool) -> bool:
    """Whether the interval of every target is as narrow as sought; tails are not sought in blocks."""
    import numpy as np

    ordered = np.sort(wall_ns)
    for target in targets:
        if target["is_tail"] and is_batched:
            continue
        if target["ranks"] is None:
            return False
        low, high = (ordered[rank - 1] for rank in target["ranks"])
        if (high - low) / 2 > target["half_width"] * ordered[target["rank"] - 1]:
            return False
    return True


def steady_state(timer: Timer, request: dict[str, Any], calls_per_block: int) -> int:
    """Time blocks until the intervals are narrow enough or the budget is out; returns how many.

    Each look waits for its number of blocks; before the first, only the whole budget ends it.
    """
    blocks = timer.blocks(calls_per_block)
    start_ns = perf_counter_ns()
    hard_ns = start_ns + request["time_budget_ns"]
    soft_ns = min(hard_ns, start_ns + request["precision_budget_ns"])
    earliest_ns = min(soft_ns, start_ns + request["min_time_ns"])
    is_batched = calls_per_block > 1
    n = timer.fill(
        blocks, 0, request["fewest_calls"], sys.maxsize
    )  # a median is given however slow a call is
    for look in request["looks"]:
        if look["n"] < n:
            continue
        deadline_ns = hard_ns if n < request["looks"][0]["n"] else soft_ns
        if perf_counter_ns() >= deadline_ns:
            break
        n = timer.fill(blocks, n, look["n"], deadline_ns)
        now_ns, wall_ns = perf_counter_ns(), timer.wall_ns[:n]
        if n < look["n"] or now_ns >= soft_ns:
            break
        if now_ns >= earliest_ns and is_precise(wall_ns, look["targets"], is_batched=is_batched):
            break
    return n


class Job:
    """One request, in the folder it came from."""

    def __init__(self, request: dict[str, Any], folder: Path) -> None:
        self.request = request
        self.folder = folder

    def stage(self, name: str) -> None:
        """Note the stage reached, for the parent to name should this process die."""
        (self.folder / "stage").write_text(name)

    def session(self) -> tuple[Any, Inputs, dict[str, Any]]:
        """The open session, its inputs, and the times of import and session creation."""
        self.stage("import")
        start = perf_counter()
        import numpy as np  # noqa: F401  (timed here)
        import onnxruntime

        imported = perf_counter()
        base_memory_bytes = status_bytes(Path("/proc/self"), "VmRSS")
        self.stage("session creation")
        before = perf_counter()
        session = open_session(self.request["model"], self.request["runtime"])
        created = perf_counter()
        facts = {
            "import_s": imported - start,
            "session_s": created - before,
            "base_memory_bytes": base_memory_bytes,
            "providers": session.get_providers(),
            "available_providers": onnxruntime.get_available_providers(),
        }
        self.stage("input check")
        return session, Inputs(session.get_inputs(), self.request, self.folder), facts

    def measure(self) -> dict[str, Any]:
        """All stages of a measurement; the samples go to files."""
        import numpy as np

        session, inputs, facts = self.session()
        n_feeds = inputs.count()
        names = [item.name for item in session.get_outputs()]

        def call(feed: Feed) -> Any:
            return session.run(names, feed)

        first = self.first_calls(call, inputs, n_feeds)
        n_samples = max(self.request["looks"][-1]["n"], self.request["warmup_window"])
        timer = Timer(call, [inputs.feed(index) for index in range(n_feeds)], n_samples)
        gc.collect()
        gc.disable()
        deadline_ns = perf_counter_ns() + self.request["warmup_budget_ns"]
        calls_per_block, n_warmup, agreed = warm_up(timer, self.request, deadline_ns)
        self.stage("steady state")
        switches_before = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
        n = steady_state(timer, self.request, calls_per_block)
        switches = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw - switches_before
        gc.enable()
        np.save(self.folder / "latency_ns.npy", timer.wall_ns[:n])
        np.save(self.folder / "thread_cpu_ns.npy", timer.cpu_ns[:n])
        first["warmup_calls"] += n_warmup
        return (
            facts
            | first
            | {
                "warmup_agreed": agreed,
                "calls_per_block": calls_per_block,
                "involuntary_switches": switches,
            }
        )

    def first_calls(self, call: Callable[[Feed], Any], inputs: Inputs, n_feeds: int) -> dict[str, Any]:
        """Time the first call, and read the peak memory after a call with each input."""
        self.stage("first call")
        process = Path("/proc/self")
        feed = inputs.feed(0)
        can_reset = reset_peak(process)
        before_ns = perf_counter_ns()
        call(feed)
        after_ns = perf_counter_ns()
        deadline_ns = after_ns + self.request["warmup_budget_ns"]
        self.stage("warm-up")
        n_calls = 1
        while n_calls < FEWEST_MEMORY_CALLS or (n_calls < n_feeds and perf_counter_ns() < deadline_ns):
            del feed
            feed = inputs.feed(n_calls % n_feeds)
            call(feed)
            n_calls += 1
        peak = status_bytes(process, "VmHWM") if can_reset else None
        return {
            "first_call_s": (after_ns - before_ns) / 1e9,
            "warmup_calls": n_calls - 1,
            "peak_memory_bytes": resident_bytes() if peak is None else peak,
            "memory_tag": "memory_fallback" if peak is None else None,
        }

    def run(self) -> dict[str, Any]:
        """The outputs for all rows of the inputs, batch by batch, each output in a file."""
        import numpy as np

        session, inputs, facts = self.session()
        rows, batch = inputs.rows(), self.request["runtime"]["batch"]
        inputs.check_last_batch()
        names = [item.name for item in session.get_outputs()]
        self.stage("running")
        parts = [session.run(names, inputs.feed(index)) for index in range(max(1, -(-rows // batch)))]
        sizes = [min(batch, rows - start) for start in range(0, rows, batch)] or [0]
        for index, name in enumerate(names):
            np.save(self.folder / f"output_{index}.npy", joined(name, [part[index] for part in parts], sizes))
        return facts | {"outputs": names}


def joined(name: str, parts: list[Any], sizes: list[int]) -> Any:
    """The outputs of all batches as one array; text becomes numpy's own text type, which needs no pickle."""
    import numpy as np

    if not all(isinstance(part, np.ndarray) for part in parts):
        raise UnusableModelError(
            f"output {name!r} must be a tensor, got {type(parts[0]).__name__}: export it as one"
        )
    arrays = [part.astype(np.str_) if part.dtype == object else part for part in parts]
    if len(arrays) == 1:
        return arrays[0]
    if any(array.ndim == 0 or len(array) != size for array, size in zip(arrays, sizes, strict=True)):
        raise UnusableModelError(
            f"output {name!r} must have one row for each input row, got shape {list(arrays[0].shape)} "
            f"for {sizes[0]} rows: run it with all rows in one batch"
        )
    return np.concatenate(arrays)


def die_with_parent(parent_pid: int) -> None:
    """Have the kernel kill this process when its parent dies (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent_pid:
            os.kill(os.getpid(), signal.SIGKILL)


def main(request_path: str) -> int:
    """Do the job in the request; every failure becomes a result the parent can read."""
    path = Path(request_path)
    request = json.loads(path.read_text())
    die_with_parent(request["parent_pid"])
    job = Job(request, path.parent)
    try:
        result = {"measure": job.measure, "run": job.run}[request["job"]]()
    except (
        Exception
    ) as error:  # the child's boundary: the parent gets a kind and a message, never a traceback
        is_model = isinstance(error, UnusableModelError) or type(error).__module__.startswith("onnxruntime")
        kind = "model" if is_model else type(error).__name__
        result = {"error": {"kind": kind, "message": " ".join(str(error).split())}}
    (path.parent / "result.json").write_text(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    sys.exit(main(sys.argv[1]))
