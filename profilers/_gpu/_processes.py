"""Which processes are one's own."""

import os

from profilers import _environment


def process_tree(root_pid: int | None = None) -> frozenset[int]:
    """Numbers of a process and all below it, and of this one; of these two alone without psutil.

    Args:
        root_pid: The process; None for this one. One that has ended has nothing below it.
    """
    root = os.getpid() if root_pid is None else root_pid
    psutil = _environment._psutil()
    if psutil is None:
        return frozenset([os.getpid(), root])
    try:
        below = psutil.Process(root).children(recursive=True)
    except psutil.Error:
        below = []
    return frozenset([os.getpid(), root, *(process.pid for process in below)])
