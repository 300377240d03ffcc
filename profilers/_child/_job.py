"""One request: the stages of a measurement, in the order that the memory asks for.

The peak is read after the first call and one call with each further input, one input alive at a time, and
before the inputs to rotate and the arrays for the samples exist. Those belong to the measurement and not to
the model.
"""

import contextlib
import ctypes
import gc
import json
import os
import re
import resource
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from time import perf_counter, perf_counter_ns
from typing import TYPE_CHECKING, Any

from profilers._child._errors import ProviderError, UnusableModelError
from profilers._child._inputs import Inputs
from profilers._child._memory import reset_peak, resident_bytes, status_bytes
from profilers._child._runner import Runner, make_runner
from profilers._child._timing import (
    Timer,
    contention,
    device_times,
    exceeds,
    steady_state,
    visit,
    warm_up,
)

if TYPE_CHECKING:
    from profilers._gpu._watch import GpuWatch

PR_SET_PDEATHSIG = 1
FEWEST_MEMORY_CALLS = 2  # the second call may need twice the memory of the first, in ONNX Runtime's arena
MOST_PROFILED = 4  # feeds
MOST_PROFILED_CALLS = 50
OUT_OF_MEMORY = re.compile(
    "bad_alloc|failed to allocate|can't allocate memory|out of memory|CUBLAS_STATUS_ALLOC_FAILED",
    re.IGNORECASE,
)


class Job:
    """One request, in the folder it came from."""

    def __init__(self, request: dict[str, Any], folder: Path) -> None:
        self.request = request
        self.folder = folder
        self.runner: Runner | None = None
        self.device_facts: dict[str, Any] = {}
        self.watch: GpuWatch | None = None

    def stage(self, name: str) -> None:
        """Note the stage reached, for the parent to name should this process die."""
        (self.folder / "stage").write_text(name)

    def loaded(self) -> tuple[Runner, Inputs, dict[str, Any]]:
        """The model, ready to be called, its inputs, and the times of import and loading."""
        runner = make_runner(self.request)
        self.stage("import")
        start = perf_counter()
        runner.import_runtime()
        imported = perf_counter()
        base_memory_bytes = status_bytes("VmRSS")
        self.stage("session creation")
        before = perf_counter()
        runner.load()
        created = perf_counter()
        self.stage("input check")
        inputs = Inputs(runner.inputs(), self.request, self.folder)
        facts = {
            "import_s": imported - start,
            "session_s": created - before,
            "base_memory_bytes": base_memory_bytes,
            "inputs": inputs.describe(),
            "assumed_dimensions": list(inputs.plan.assumed),
        }
        return runner, inputs, facts | runner.facts()

    def measure(self) -> dict[str, Any]:
        """All stages of a measurement; the samples go to files."""
        timer, calls_per_block, facts = self.warm()
        self.stage("steady state")
        self.look()
        before = contention()
        switches_before = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
        n = steady_state(timer, self.request, calls_per_block)
        switches = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw - switches_before
        disturbed = before.until(contention())
        self.look()
        self.keep(timer, n)
        self.on_device(timer)
        return facts | {"involuntary_switches": switches} | disturbed | self.device_record()

    def look(self) -> None:
        """Keep the state of the GPU as it is now, where the model runs on one."""
        if self.watch is not None:
            self.watch.read()

    def on_device(self, timer: Timer) -> None:
        """Time calls by the clock of the device, with its cache as calls leave it, and emptied."""
        import numpy as np

        if self.runner is None or (device := self.runner.device) is None:
            return
        self.stage("device timing")
        rules = {"n_most": self.request["looks"][-1]["n"], "budget_ns": self.request["min_time_ns"]}
        for name, is_cold in (("device_ns", False), ("cold_ns", True)):
            times = device_times(device, self.runner.enqueue, timer.feeds, is_cold=is_cold, **rules)
            self.look()
            np.save(self.folder / f"{name}.npy", np.array(times, np.int64))

    def device_record(self) -> dict[str, Any]:
        """The device, its memory and its states; nothing where the model runs on the processor.

        Its memory is that of the first calls, before the samples exist. What the framework says of the
        device goes before what its driver says.
        """
        device = None if self.runner is None else self.runner.device
        if device is None and self.watch is None:
            return {}
        watched: dict[str, Any] = {}
        if self.watch is not None:
            watched = self.watch.facts()
            self.watch.close()
        return {"device": watched | ({} if device is None else device.facts()) | self.device_facts}

    def warm(self) -> tuple[Timer, int, dict[str, Any]]:
        """The stages up to the end of the warm-up: the timer, the calls in a block, and what was seen."""
        runner, inputs, facts = self.loaded()
        self.runner = runner
        n_feeds = inputs.count()
        first = self.first_calls(runner, inputs, n_feeds)
        self.watch = self.opened_watch()
        n_samples = max(self.request["looks"][-1]["n"], self.request["warmup_window"])
        feeds = [runner.prepared(inputs.feed(index)) for index in range(n_feeds)]
        timer = Timer(runner.call, feeds, n_samples)
        gc.collect()
        gc.disable()
        deadline_ns = perf_counter_ns() + self.request["warmup_budget_ns"]
        calls_per_block, n_warmup, agreed = warm_up(timer, self.request, deadline_ns)
        first["warmup_calls"] += n_warmup
        return (
            timer,
            calls_per_block,
            facts | first | {"warmup_agreed": agreed, "calls_per_block": calls_per_block},
        )

    def opened_watch(self) -> "GpuWatch | None":
        """What reads the state of the GPU, if there is one; imported after the peak memory was read."""
        from profilers._child._onnxruntime import ON_A_GPU

        provider = self.request["runtime"]["provider"]
        if (self.runner is None or self.runner.device is None) and provider.partition(":")[0] not in ON_A_GPU:
            return None
        from profilers._gpu._watch import watch_for

        return watch_for(provider, root_pid=self.request["parent_pid"])

    def first_calls(self, runner: Runner, inputs: Inputs, n_feeds: int) -> dict[str, Any]:
        """Time the first call, and read the peak memory after a call with each input."""
        self.stage("first call")
        device = runner.device
        if device is not None:
            device.reset_peak_memory()
        feed = runner.prepared(inputs.feed(0))
        can_reset = reset_peak()
        before_ns = perf_counter_ns()
        called_with_help(runner, feed, inputs)
        after_ns = perf_counter_ns()
        deadline_ns = after_ns + self.request["warmup_budget_ns"]
        self.stage("warm-up")
        n_calls = 1
        while n_calls < FEWEST_MEMORY_CALLS or (n_calls < n_feeds and perf_counter_ns() < deadline_ns):
            del feed
            feed = runner.prepared(inputs.feed(n_calls % n_feeds))
            called_with_help(runner, feed, inputs)
            n_calls += 1
        peak = status_bytes("VmHWM") if can_reset else None
        if device is not None:
            self.device_facts = {"memory_bytes": device.memory(), **runner.compile_facts()}
        return {
            "first_call_s": (after_ns - before_ns) / 1e9,
            "warmup_calls": n_calls - 1,
            "peak_memory_bytes": resident_bytes() if peak is None else peak,
            "memory_tag": "memory_fallback" if peak is None else None,
        }

    def serve(self) -> dict[str, Any]:
        """Time a visit for each byte that comes in, answering with a byte, until there are no more."""
        timer, calls_per_block, facts = self.warm()
        self.stage("visits")
        self.look()
        duration_ns = self.request["visit_ns"]
        is_slow = exceeds(timer, duration_ns)
        sizes, n = [], 0
        before = contention()
        switches_before = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
        commands, answers = self.request["commands_fd"], self.request["answers_fd"]
        os.write(answers, b"\n")  # ready
        while os.read(commands, 1):
            stop = visit(timer, calls_per_block, n, duration_ns, is_slow=is_slow)
            sizes.append(stop - n)
            n = stop
            self.look()
            os.write(answers, b"\n")
        switches = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw - switches_before
        disturbed = before.until(contention())
        self.keep(timer, n)
        seen = {"involuntary_switches": switches, "visits": sizes}
        return facts | seen | disturbed | self.device_record()

    def profile(self) -> dict[str, Any]:
        """What ONNX Runtime's own profile tells of operators and memory, as far as it does."""
        from profilers._child._onnxruntime import OnnxRuntimeRunner
        from profilers._child._profiling import FEWEST_CALLS, profile_session
        from profilers._ort_profile import CALL_NAME, memory, operator_times, read_profile

        runner, inputs, facts = self.loaded()
        assert isinstance(runner, OnnxRuntimeRunner)
        self.stage("profiling")
        feeds = [runner.prepared(inputs.feed(index)) for index in range(min(inputs.count(), MOST_PROFILED))]
        before = perf_counter()
        runner.call(feeds[0])
        n_calls = int(self.request["profile_s"] / (perf_counter() - before))
        n_calls = min(max(n_calls, FEWEST_CALLS + 1), MOST_PROFILED_CALLS)
        del runner  # with its session: another one of the same model follows
        unopened = OnnxRuntimeRunner(self.request["model"], self.request["runtime"])
        paths = profile_session(unopened.reopened, feeds, self.folder, n_calls=n_calls)
        deployed, plain = read_profile(paths["deployed"]), read_profile(paths["plain"])
        return facts | {
            "n_calls": sum(event["name"] == CALL_NAME for event in deployed) - 1,  # the first does not count
            "operators": [asdict(row) for row in operator_times(deployed)],
            "arena": asdict(memory(deployed, plain)),
        }

    def keep(self, timer: Timer, n: int) -> None:
        """Store the first n samples for the parent."""
        import numpy as np

        gc.enable()
        np.save(self.folder / "latency_ns.npy", timer.wall_ns[:n])
        np.save(self.folder / "thread_cpu_ns.npy", timer.cpu_ns[:n])

    def run(self) -> dict[str, Any]:
        """The outputs for all rows of the inputs, batch by batch, each output in a file."""
        import numpy as np

        from profilers._child._onnxruntime import OnnxRuntimeRunner

        self.request["runtime"]["options"].pop(
            "graph", None
        )  # a graph fits one batch; the last may be smaller
        runner, inputs, facts = self.loaded()
        rows, batch = inputs.rows(), self.request["runtime"]["batch"]
        inputs.check_all_given()
        inputs.check_last_batch()
        names = runner.output_names()
        self.stage("running")
        feeds = (runner.prepared(inputs.feed(index)) for index in range(max(1, -(-rows // batch))))
        parts = [runner.outputs(called_with_help(runner, feed, inputs)) for feed in feeds]
        sizes = [min(batch, rows - start) for start in range(0, rows, batch)] or [0]
        shapes = runner.output_shapes() if isinstance(runner, OnnxRuntimeRunner) else [() for _ in names]
        for index, (name, shape) in enumerate(zip(names, shapes, strict=True)):
            whole = joined(name, [part[index] for part in parts], sizes, inputs.plan.row_axis(shape, batch))
            np.save(self.folder / f"output_{index}.npy", whole)
        return facts | {"outputs": names}


def called_with_help(runner: Runner, feed: Any, inputs: Inputs) -> Any:
    """What a call gives; an error says what was assumed of the inputs, where that may be why."""
    try:
        return runner.call(feed)
    except Exception as error:
        if OUT_OF_MEMORY.search(str(error)):
            raise MemoryError(str(error)) from error
        if not is_of_runtime(error) or not inputs.made():
            raise
        assumed = ", ".join(repr(name) for name in inputs.plan.assumed)
        if assumed:
            raise UnusableModelError(
                f"with the symbolic dimensions {assumed} taken as 1, for want of a size: {error}: "
                "give sizes with dims (--dim NAME=SIZE), or shapes (--input NAME=SHAPE:DTYPE)"
            ) from error
        made = ", ".join(f"{name!r} {list(inputs.plan.shapes[name])}" for name in inputs.made())
        raise UnusableModelError(
            f"with inputs that were made, {made}: {error}: give real ones (--npz FILE)"
        ) from error


def is_of_runtime(error: Exception) -> bool:
    """Whether what runs the model raised it: then the model or its inputs are at fault."""
    return type(error).__module__.startswith(("onnxruntime", "torch")) or type(error) is RuntimeError


def joined(name: str, parts: list[Any], sizes: list[int], axis: int | None = 0) -> Any:
    """The outputs of all batches as one array; text becomes numpy's own text type, which needs no pickle.

    Args:
        name: Of the output.
        parts: What each batch gave.
        sizes: Rows of each batch.
        axis: The one that counts rows; None where none does.
    """
    import numpy as np

    if not all(isinstance(part, np.ndarray) for part in parts):
        raise UnusableModelError(
            f"output {name!r} must be a tensor, got {type(parts[0]).__name__}: "
            "export it as one (skl2onnx: zipmap=False)"
        )
    arrays = [part.astype(np.str_) if part.dtype == object else part for part in parts]
    if len(arrays) == 1:
        return arrays[0]
    shapes = [array.shape for array in arrays]
    if axis is None or any(
        shape[axis : axis + 1] != (size,) for shape, size in zip(shapes, sizes, strict=True)
    ):
        raise UnusableModelError(
            f"output {name!r} must have one row for each input row, got shape {list(shapes[0])} "
            f"for {sizes[0]} rows: run it with all rows in one batch"
        )
    return np.concatenate(arrays, axis)


def die_with_parent(parent_pid: int) -> None:
    """Have the kernel kill this process when its parent dies (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent_pid:
            os.kill(os.getpid(), signal.SIGKILL)


def keep_files_to_itself() -> None:
    """Have no process that a model starts inherit the pipes: their end tells the parent that this ended."""
    folder = Path("/dev/fd")
    for number in [int(path.name) for path in folder.iterdir()] if folder.is_dir() else []:
        with contextlib.suppress(OSError):  # that of the listing is closed by now
            if number > 2:
                os.set_inheritable(number, False)  # noqa: FBT003  (it takes no keyword)


def go_first_when_memory_ends() -> None:
    """Have the kernel take this process, and no other, for one whose model wants more than there is."""
    with contextlib.suppress(OSError):  # a system that has no such file
        Path("/proc/self/oom_score_adj").write_text("1000")


def main(request_path: str) -> int:
    """Do the job in the request; every failure becomes a result the parent can read."""
    path = Path(request_path)
    request = json.loads(path.read_text())
    die_with_parent(request["parent_pid"])
    keep_files_to_itself()
    go_first_when_memory_ends()
    job = Job(request, path.parent)
    try:
        work = {"measure": job.measure, "profile": job.profile, "run": job.run, "serve": job.serve}
        result = work[request["job"]]()
    except (
        Exception
    ) as error:  # the child's boundary: the parent gets a kind and a message, never a traceback
        is_model = isinstance(error, UnusableModelError) or is_of_runtime(error)
        kind = "model" if is_model else type(error).__name__
        kind = "provider" if isinstance(error, ProviderError) else kind
        message, missing = " ".join(str(error).split()), getattr(error, "name", None)
        missing = missing if isinstance(error, ImportError) else None
        result = {"error": {"kind": kind, "message": message, "missing": missing}}
    (path.parent / "result.json").write_text(json.dumps(result))
    return 0
