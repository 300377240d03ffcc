"""Measuring in another place: models travel there by hash, and what was measured comes back."""

import contextlib
import hashlib
import io
import os
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from profilers._environment import environment
from profilers._errors import LaunchError, ModelError
from profilers._measurement import Measurement
from profilers._measuring import Feeds, is_spent
from profilers._model import ModelFile, external_files, load_proto
from profilers._protocol import QUICK
from profilers._protocol import Protocol as MeasurementProtocol
from profilers._runtime import Runtime

if TYPE_CHECKING:
    from profilers._interface import OpenLaunch, Profiler

Kept = dict[str, Any]
Job = Callable[[Path, Kept], Any]

LIMIT_BYTES = 4 * 2**30


class Send(Protocol):
    """Has a job done where models are to be measured, and gives what it returned."""

    def __call__(self, job: Job, *, alone: bool) -> Any:
        """Call the job there with a folder and a dict that last from job to job; one job at a time.

        Args:
            job: Can be pickled, as can what it returns or raises.
            alone: Whether nothing else may work there meanwhile.

        Raises:
            Exception: Whatever the job raised.
        """


class RemoteProfiler:
    """A profiler in another place: see `Profiler`. Only ONNX models can be sent.

    Files and inputs are known there by their SHA-256: what is there already is not sent again. Those used
    least lately are dropped beyond 4 GiB.

    Args:
        profiler: What measures there.
        send: Has it done there.
    """

    def __init__(self, profiler: "Profiler", send: Send) -> None:
        self._profiler = profiler
        self._send = send

    def environment(self) -> dict[str, Any]:
        """The machine there, as `profilers.environment` tells it."""
        found: dict[str, Any] = self._send(_environment, alone=False)
        return found

    def measure(
        self,
        model_path: str | Path,
        runtime: Runtime,
        *,
        protocol: MeasurementProtocol = QUICK,
        feeds: Feeds | None = None,
        until: Callable[[Measurement], bool] | None = None,
    ) -> Measurement:
        """See `Profiler.measure`; `until` is asked here, so then each launch is a job of its own."""
        parcel = self._parcel(model_path, runtime, feeds)
        if until is None:
            return self._measured(parcel, protocol)
        once = replace(protocol, launches=1, max_launches=None)
        begun = time.monotonic()
        found = self._measured(parcel, once)
        while True:
            whole = replace(found, protocol=protocol)
            if is_spent(whole, time.monotonic() - begun) or until(whole):
                return whole
            found = _joined(found, self._measured(parcel, once))

    def open(
        self,
        model_path: str | Path,
        runtime: Runtime,
        *,
        protocol: MeasurementProtocol = QUICK,
        feeds: Feeds | None = None,
    ) -> "RemoteLaunch":
        """See `Profiler.open`."""
        parcel, key = self._parcel(model_path, runtime, feeds), uuid.uuid4().hex
        self._done(parcel, partial(_open, protocol=protocol, key=key), alone=True)
        return RemoteLaunch(self._send, key)

    def run(
        self, model_path: str | Path, runtime: Runtime, inputs: Mapping[str, NDArray[Any]]
    ) -> dict[str, NDArray[Any]]:
        """See `Profiler.run`."""
        found: dict[str, NDArray[Any]] = self._done(
            self._parcel(model_path, runtime, Feeds(arrays=inputs)), _run, alone=False
        )
        return found

    def _measured(self, parcel: "_Parcel", protocol: MeasurementProtocol) -> Measurement:
        found: Measurement = self._done(parcel, partial(_measure, protocol=protocol), alone=True)
        return found

    def _parcel(self, model_path: str | Path, runtime: Runtime, feeds: Feeds | None) -> "_Parcel":
        return _Parcel.packed(self._profiler, Path(model_path), runtime, feeds or Feeds())

    def _done(self, parcel: "_Parcel", work: "Callable[[_Unpacked], Any]", *, alone: bool) -> Any:
        """What the work came to; what it turns out to lack is sent, and then it is tried again."""
        job = partial(_unpacked, contents=parcel.contents, work=work)
        for _ in range(2):  # a place that was begun anew in between has lost everything
            found = self._send(job, alone=alone)
            if not isinstance(found, _Lacking):
                return found
            self._send(partial(_keep, blobs=parcel.blobs(found.keys)), alone=False)
        found = self._send(job, alone=alone)
        if isinstance(found, _Lacking):
            raise LaunchError(
                f"model {parcel.contents.path}: what was sent to be measured did not stay there"
            )
        return found


class RemoteLaunch:
    """See `OpenLaunch`: a launch that is open in another place."""

    def __init__(self, send: Send, key: str) -> None:
        """Take one that was opened there under that key."""
        self._send = send
        self._key = key

    def visit(self) -> None:
        """See `OpenLaunch.visit`."""
        self._send(partial(_visit, key=self._key), alone=True)

    def closed(self) -> tuple[Measurement, tuple[int, ...]]:
        """See `OpenLaunch.closed`."""
        found: tuple[Measurement, tuple[int, ...]] = self._send(partial(_closed, key=self._key), alone=False)
        return found

    def __enter__(self) -> Self:
        """Give itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the process there if it still runs."""
        self._send(partial(_left, key=self._key), alone=False)


def _joined(one: Measurement, more: Measurement) -> Measurement:
    """Both as one measurement of as many launches; the machine's state is that of the first."""
    if one.model.sha256 != more.model.sha256:
        raise ModelError(f"model {one.model.path}: was changed while it was measured: measure again")
    return replace(one, launches=(*one.launches, *more.launches))


# what is sent


@dataclass(frozen=True, kw_only=True)
class _Contents:
    """A model and its inputs, with hashes in place of what they hold.

    Attributes:
        path: The model's path as it was given, for people to read.
        sha256: Its identity.
        files: The hash of each file's contents, by its location beside the model; the first is the model.
        arrays: Those of the inputs.
        feeds: The rest of what is fed.
    """

    profiler: "Profiler"
    path: str
    sha256: str
    files: Mapping[str, str]
    arrays: Mapping[str, str]
    feeds: Feeds
    runtime: Runtime


@dataclass(frozen=True, kw_only=True)
class _Parcel:
    contents: _Contents
    sources: Mapping[str, Path | bytes] = field(repr=False)

    @classmethod
    def packed(cls, profiler: "Profiler", path: Path, runtime: Runtime, feeds: Feeds) -> Self:
        """Raises `ModelError` for a model that is not ONNX, or inputs that are no arrays."""
        model = ModelFile.read(path)
        files = {path.name: path}
        files |= {str(file.relative_to(path.parent)): file for file in external_files(path, load_proto(path))}
        digests = {name: _digest(file) for name, file in files.items()}
        arrays = {name: _bytes_of(array) for name, array in (feeds.checked() or {}).items()}
        keys = {name: hashlib.sha256(data).hexdigest() for name, data in arrays.items()}
        contents = _Contents(
            profiler=profiler,
            path=str(path),
            sha256=model.sha256,
            files=digests,
            arrays=keys,
            feeds=replace(feeds, arrays={}),
            runtime=runtime,
        )
        sources: dict[str, Path | bytes] = {digests[name]: file for name, file in files.items()}
        return cls(contents=contents, sources=sources | {keys[name]: arrays[name] for name in arrays})

    def blobs(self, keys: Iterable[str]) -> dict[str, bytes]:
        found = {key: self.sources[key] for key in keys}
        return {key: one.read_bytes() if isinstance(one, Path) else one for key, one in found.items()}


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _bytes_of(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


# what is done there: each takes the place's folder and what it keeps


@dataclass(frozen=True)
class _Lacking:
    """The hashes of what has to be sent first."""

    keys: tuple[str, ...]


def _environment(_folder: Path, _kept: Kept) -> dict[str, Any]:
    return environment()


def _keep(folder: Path, _kept: Kept, *, blobs: Mapping[str, bytes], limit_bytes: int = LIMIT_BYTES) -> None:
    """Keep contents under their hashes, and drop those used least lately beyond the limit."""
    home = _home(folder)
    for key, data in blobs.items():
        if hashlib.sha256(data).hexdigest() != key:
            raise LaunchError("a file that was sent to be measured arrived changed: try again")
        (home / f"{key}.part").write_bytes(data)
        (home / f"{key}.part").replace(home / key)
    others = sorted((f for f in home.iterdir() if f.name not in blobs), key=lambda f: f.stat().st_mtime)
    total = sum(file.stat().st_size for file in home.iterdir())
    for file in others:
        if total <= limit_bytes:
            break
        total -= file.stat().st_size
        file.unlink()


def _home(folder: Path) -> Path:
    home = folder / "sha256"
    home.mkdir(exist_ok=True)
    return home


@dataclass(frozen=True, kw_only=True)
class _Unpacked:
    """A model and its inputs as they lie in this place, until the stack is closed."""

    contents: _Contents
    path: Path
    feeds: Feeds
    stack: contextlib.ExitStack
    kept: Kept

    def as_sent(self, measurement: Measurement) -> Measurement:
        return replace(measurement, model=replace(measurement.model, path=self.contents.path))


def _unpacked(folder: Path, kept: Kept, *, contents: _Contents, work: Callable[[_Unpacked], Any]) -> Any:
    """Do the work on the model as it is sent, in a folder of its own; or say what is not here."""
    home, keys = _home(folder), (*contents.files.values(), *contents.arrays.values())
    lacking = tuple(key for key in keys if not (home / key).is_file())
    if lacking:
        return _Lacking(lacking)
    for key in keys:
        os.utime(home / key)
    with contextlib.ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="model-", dir=folder)))
        for location, key in contents.files.items():
            (place / location).parent.mkdir(parents=True, exist_ok=True)
            os.link(home / key, place / location)
        path = place / next(iter(contents.files))
        arrays = {name: np.load(home / key, allow_pickle=False) for name, key in contents.arrays.items()}
        feeds = replace(contents.feeds, arrays=arrays)
        with _named(path, contents.path):
            return work(_Unpacked(contents=contents, path=path, feeds=feeds, stack=stack, kept=kept))


@contextlib.contextmanager
def _named(there: Path, here: str) -> Iterator[None]:
    """Have what is said of a model name it as the person who sent it does."""
    try:
        yield
    except ModelError as error:
        raise ModelError(str(error).replace(str(there), here)) from error


def _measure(at: _Unpacked, *, protocol: MeasurementProtocol) -> Measurement:
    sent = at.contents
    return at.as_sent(sent.profiler.measure(at.path, sent.runtime, protocol=protocol, feeds=at.feeds))


def _run(at: _Unpacked) -> dict[str, NDArray[Any]]:
    return at.contents.profiler.run(at.path, at.contents.runtime, at.feeds.arrays)


def _open(at: _Unpacked, *, protocol: MeasurementProtocol, key: str) -> None:
    sent = at.contents
    launch = sent.profiler.open(at.path, sent.runtime, protocol=protocol, feeds=at.feeds)
    at.stack.enter_context(launch)
    at.kept[key] = (launch, replace(at, stack=at.stack.pop_all()))


def _visit(_folder: Path, kept: Kept, *, key: str) -> None:
    _launch(kept, key)[0].visit()


def _closed(_folder: Path, kept: Kept, *, key: str) -> tuple[Measurement, tuple[int, ...]]:
    launch, at = _launch(kept, key)
    measurement, sizes = launch.closed()
    return at.as_sent(measurement), sizes


def _left(_folder: Path, kept: Kept, *, key: str) -> None:
    if key in kept:
        kept.pop(key)[1].stack.close()


def _launch(kept: Kept, key: str) -> tuple["OpenLaunch", _Unpacked]:
    if key not in kept:
        raise LaunchError("the place where the launch was open has been begun anew: measure again")
    found: tuple[OpenLaunch, _Unpacked] = kept[key]
    return found
