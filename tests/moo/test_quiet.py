"""The window in which a candidate is timed alone: real processes and real locks."""

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import optuna
import pytest

from moo.problem import Problem
from moo.quiet import OpenWindow, QuietWindow
from moo.sweep import Sweep
from objectives import FunctionTask

LIMIT_S = 60.0  # of anything that a test waits for


def process(folder: Path, body: str) -> subprocess.Popen[str]:
    """Begin a process that has a window of this folder and says what it does, a line each."""
    head = f"""
        import sys, time
        from pathlib import Path
        from moo.quiet import QuietWindow
        window = QuietWindow(Path({str(folder)!r}))
        def say(word): print(word, flush=True)
    """
    code = textwrap.dedent(head) + textwrap.dedent(body)
    return subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def heard(started: subprocess.Popen[str]) -> str:
    assert started.stdout is not None
    return started.stdout.readline().strip()


def told(started: subprocess.Popen[str]) -> None:
    """Let a process that waits for a line go on."""
    assert started.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        started.stdin.write("\n")
        started.stdin.flush()


@contextlib.contextmanager
def ended(*started: subprocess.Popen[str]):
    try:
        yield
    finally:
        for one in started:
            one.kill()
            one.communicate()


HOLDS = """
    with window.{how}():
        say("in")
        sys.stdin.readline()
    say("out")
    sys.stdin.readline()
"""


def is_free(folder: Path, how: str) -> bool:
    """Whether a window of this process would get in at once."""
    window = QuietWindow(folder, limit_s=0.0)
    if how == "working":
        return not window.is_taken()
    log: list[object] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("moo.quiet._log.warning", lambda *words: log.append(words))
        with window.measuring():
            pass
    return not log  # it says so where it measures beside others


@pytest.mark.parametrize(
    ("held", "wanted", "is_let_in"),
    [("working", "working", True), ("working", "measuring", False), ("measuring", "working", False)],
)
def test_work_goes_beside_work_and_never_beside_a_measurement(tmp_path, held, wanted, is_let_in) -> None:
    other = process(tmp_path, HOLDS.format(how=held))
    with ended(other):
        assert heard(other) == "in"
        assert is_free(tmp_path, wanted) is is_let_in
        told(other)
        assert heard(other) == "out"
        assert is_free(tmp_path, wanted)


@pytest.mark.parametrize("how", ["working", "measuring"])
def test_a_holder_that_is_killed_lets_the_others_in(tmp_path, how) -> None:
    other = process(tmp_path, HOLDS.format(how=how))
    with ended(other):
        assert heard(other) == "in"
        other.send_signal(signal.SIGKILL)
        other.wait(LIMIT_S)
        assert is_free(tmp_path, "working")
        assert is_free(tmp_path, "measuring")


def test_a_killed_holder_whose_measurement_others_wait_for_wakes_them(tmp_path) -> None:
    holder = process(tmp_path, HOLDS.format(how="measuring"))
    with ended(holder):
        assert heard(holder) == "in"
        waiting = process(tmp_path, 'say("ready")\n' + textwrap.dedent(HOLDS.format(how="working")))
        with ended(waiting):
            assert heard(waiting) == "ready"
            holder.kill()
            assert heard(waiting) == "in"


WORKS_WITHOUT_END = """
    n = 0
    while True:
        with window.working():
            for step in range(50):
                window.pause()
                if n == 0:
                    say("working")
                n += 1
"""


def test_a_measurement_gets_its_turn_beside_work_that_never_stops(tmp_path) -> None:
    """Without a turnstile three workers would keep the window shared for good."""
    busy = [process(tmp_path, WORKS_WITHOUT_END) for _ in range(3)]
    with ended(*busy):
        assert [heard(one) for one in busy] == ["working"] * 3
        window = QuietWindow(tmp_path, limit_s=LIMIT_S)
        for _ in range(20):
            with window.measuring():
                pass
        assert 0 < window.take_waited()["measurement"] < LIMIT_S


MEASURES = """
    import os
    count = Path({folder!r}) / "inside"
    for _ in range(30):
        with window.working():
            window.pause()
            with window.measuring():
                file = os.open(count, os.O_CREAT | os.O_EXCL)
                os.close(file)
                time.sleep(0.001)
                os.unlink(count)
            window.pause()
    say("done")
"""


def test_processes_that_work_and_measure_in_turn_never_measure_at_once_and_all_finish(tmp_path) -> None:
    """Each gives its own share of the window back before it measures: two would wait for each other else."""
    all_ = [process(tmp_path, MEASURES.format(folder=str(tmp_path))) for _ in range(3)]
    with ended(*all_):
        assert [heard(one) for one in all_] == ["done"] * 3


def test_windows_of_two_threads_exclude_each_other(tmp_path) -> None:
    inside: list[str] = []
    overlaps: list[str] = []

    def measures(name: str) -> None:
        window = QuietWindow(tmp_path)
        for _ in range(20):
            with window.working(), window.measuring():
                inside.append(name)
                overlaps.extend(inside if len(inside) > 1 else [])
                inside.remove(name)

    threads = [threading.Thread(target=measures, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT_S)
    assert not any(thread.is_alive() for thread in threads)
    assert overlaps == []


def test_a_thread_that_helps_in_a_trial_pauses_while_it_is_measured(tmp_path) -> None:
    window, order = QuietWindow(tmp_path), []

    def step() -> None:
        window.pause()
        order.append("step")

    with window.working():
        helper = threading.Thread(target=step)
        with window.measuring():
            helper.start()
            order.append("measured")
        helper.join(LIMIT_S)
    assert order == ["measured", "step"]


def test_contexts_may_be_nested_in_any_way_and_leave_the_window_free(tmp_path) -> None:
    window = QuietWindow(tmp_path)
    with window.working(), window.working():
        assert not is_free(tmp_path, "measuring")
        with window.measuring(), window.measuring(), window.working():
            assert window.pause() == 0.0
            assert not is_free(tmp_path, "working")
        assert is_free(tmp_path, "working")
        assert not is_free(tmp_path, "measuring")
    assert is_free(tmp_path, "measuring")
    with window.measuring(), window.working():
        assert not is_free(tmp_path, "working")
    assert is_free(tmp_path, "measuring")


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_whatever_is_raised_inside_leaves_the_window_free(tmp_path, error) -> None:
    window = QuietWindow(tmp_path)
    with pytest.raises(error), window.working(), window.measuring():
        raise error
    assert is_free(tmp_path, "working")
    assert is_free(tmp_path, "measuring")


def test_a_measurement_that_fails_gives_the_trial_its_right_to_work_back(tmp_path) -> None:
    window = QuietWindow(tmp_path)
    with window.working():
        with contextlib.suppress(ValueError), window.measuring():
            raise ValueError
        assert not is_free(tmp_path, "measuring")


def test_work_that_never_pauses_is_waited_for_up_to_the_limit_and_then_measured_beside(
    tmp_path, caplog
) -> None:
    now = [0.0]
    waits: list[tuple[str, float]] = []

    def sleeps(seconds: float) -> None:
        now[0] += seconds

    window = QuietWindow(
        tmp_path,
        limit_s=30.0,
        clock=lambda: now[0],
        sleep=sleeps,
        on_wait=lambda who, seconds: waits.append((who, seconds)),
    )
    with QuietWindow(tmp_path).working(), window.measuring():
        assert not is_free(tmp_path, "working")  # no new work begins beside it
    assert waits == [("measurement", pytest.approx(30.0, abs=0.1))]
    assert "has worked for 30 s without a pause" in caplog.text
    assert window.take_waited() == {"measurement": pytest.approx(30.0, abs=0.1)}
    assert window.take_waited() == {}


def test_a_process_that_a_trial_forked_does_not_keep_the_window(tmp_path) -> None:
    window = QuietWindow(tmp_path)
    with window.working():
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(writing)
            os.read(reading, 1)  # until the parent is through
            os._exit(0)
        os.close(reading)
    try:
        assert is_free(tmp_path, "measuring")
    finally:
        os.close(writing)
        os.waitpid(child, 0)


@pytest.mark.parametrize("name", ["fcntl.flock", "os.open"])
def test_without_locks_nobody_waits_and_one_warning_says_so(tmp_path, monkeypatch, caplog, name) -> None:
    def refuses(*arguments):
        raise OSError(37, "No locks available")

    window = QuietWindow(tmp_path)
    monkeypatch.setattr(f"moo.quiet.{name}", refuses)
    with window.working():
        window.pause()
        with window.measuring():
            window.pause()
    with window.measuring():
        pass
    assert not window.is_taken()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "cannot be locked (No locks available)" in caplog.text


def test_work_that_rests_is_not_in_a_measurements_way_and_works_on_afterwards(tmp_path, caplog) -> None:
    window, other = QuietWindow(tmp_path), QuietWindow(tmp_path, limit_s=0.0)
    with window.working():
        with window.resting(), other.measuring():
            pass
        assert caplog.records == []
        with other.measuring():
            assert "is measured beside it" in caplog.text


def test_what_work_waited_is_told_and_returned_by_the_pause(tmp_path) -> None:
    now = [0.0]
    window = QuietWindow(tmp_path, clock=lambda: now.append(now[-1] + 2.0) or now[-1])
    with window.working():
        assert window.pause() == 2.0
    assert window.take_waited() == {"work": 4.0}


class Counting(OpenWindow):
    n_measured = 0

    def measuring(self):
        self.n_measured += 1
        return super().measuring()


class Measured(FunctionTask):
    def evaluate(self, trial, context):
        with context.measuring():
            return super().evaluate(trial, context)


def test_a_sweep_works_and_measures_in_the_window_that_it_is_given(tmp_path) -> None:
    study = optuna.create_study(directions=["minimize"])
    task = Measured(lambda trial: {"latency_p50": trial.suggest_float("x", 0, 1)}, name="measured")
    window = Counting()
    sweep = Sweep(
        study,
        study._storage,
        Problem.parse(minimize=["latency_p50"]),
        task,
        root=tmp_path,
        seed=0,
        observer=None,
        window=window,
    )
    sweep.run(3, until=None, clock=time.monotonic, should_stop=lambda: False)
    assert window.n_measured == 3
    assert not list(tmp_path.glob(".moo-quiet-*"))
