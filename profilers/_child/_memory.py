"""Resident memory of this process, now and at its peak."""

from pathlib import Path

PROCESS = Path("/proc/self")


def reset_peak(process: Path = PROCESS) -> bool:
    """Forget the peak of the resident memory; False where the system cannot."""
    try:
        (process / "clear_refs").write_text("5")
    except OSError:
        return False
    return True


def status_bytes(field: str, process: Path = PROCESS) -> int | None:
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
