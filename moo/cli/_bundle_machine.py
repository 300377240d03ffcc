"""This machine, as bundles are written and verified on it: the profilers, behind `moo.bundle.Machine`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from moo.bundle import FEWEST_LAUNCHES, Described, Found
from moo.cli._bundle_model import batches, described
from moo.errors import InstallError, MeasureError
from objectives._pipeline import measured_metrics
from profilers import (
    MODES,
    QUICK,
    Feeds,
    MissingLibraryError,
    Profiler,
    ProfilerError,
    Protocol,
    Runtime,
    fingerprint,
)

__all__ = ["ThisMachine"]


@dataclass(frozen=True, kw_only=True)
class ThisMachine:
    """See `moo.bundle.Machine`: models are run and measured in processes of their own.

    Args:
        profiler_for: The profiler for a provider's name.
        mode: A name of `profilers.MODES`; None for the protocol of the bundle, in 5 processes at least, since
            fewer do not see how launches spread.
    """

    profiler_for: Callable[[str], Profiler]
    mode: str | None = None

    def describe(self, path: Path) -> Described:
        """See `moo.bundle.Machine`."""
        return described(path)

    def run(
        self, path: Path, runtime: Mapping[str, Any], inputs: Mapping[str, NDArray[Any]]
    ) -> dict[str, NDArray[Any]]:
        """See `moo.bundle.Machine`."""
        with _told():
            return self.profiler_for(str(runtime["provider"])).run(path, _runtime(runtime), inputs)

    def measure(
        self,
        path: Path,
        runtime: Mapping[str, Any],
        protocol: Mapping[str, Any] | None,
        sample: Mapping[str, NDArray[Any]],
    ) -> Found:
        """See `moo.bundle.Machine`."""
        with _told():
            arrays = batches(described(path).inputs, int(runtime["batch"]), sample)
            profiler = self.profiler_for(str(runtime["provider"]))
            found = profiler.measure(
                path, _runtime(runtime), protocol=self._protocol(protocol), feeds=Feeds(arrays=arrays)
            )
        return Found(
            metrics=measured_metrics(found),
            n_launches=len(found.launches),
            fingerprint=fingerprint(found.environment),
            environment=found.environment,
            tags=found.tags,
        )

    def _protocol(self, stored: Mapping[str, Any] | None) -> Protocol:
        if self.mode is not None:
            return dataclasses.replace(MODES[self.mode], profile_s=0.0)
        protocol = QUICK if stored is None else Protocol(**stored)
        fewest = max(protocol.launches, FEWEST_LAUNCHES)
        most = None if protocol.max_launches is None else max(protocol.max_launches, fewest)
        return dataclasses.replace(protocol, launches=fewest, max_launches=most, profile_s=0.0)


def _runtime(record: Mapping[str, Any]) -> Runtime:
    """Return the runtime that a record says; what it says beside, such as the precision, is left out."""
    names = {field.name for field in dataclasses.fields(Runtime)}
    return Runtime.from_json({name: value for name, value in record.items() if name in names})


@contextmanager
def _told() -> Iterator[None]:
    """Tell in one line what the profilers cannot do here."""
    try:
        yield
    except MissingLibraryError as error:
        raise InstallError(str(error)) from error
    except (ProfilerError, ValueError, TypeError) as error:
        raise MeasureError(" ".join(str(error).split())) from error
