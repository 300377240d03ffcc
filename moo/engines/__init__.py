"""Where the trials of a sweep are evaluated, if not in processes of this machine.

| step | file |
|---|---|
| a trial evaluated elsewhere: what it asks of the sweep, what it is answered | `_conversation.py` |
| its files, back in the study's folder by hash | `_files.py` |
| a person's own code, on machines that do not have it | `_code.py` |
| several trials at a time, each followed by a thread | `_threads.py` |
| a Ray cluster: where trials are evaluated, devices that measure | `ray.py`, `_ray_actors.py` |

The sweep itself (asking, judging, telling, the log) stays in the process that began it, with the storage and
the study's folder. Nothing here loads Ray before a fleet is opened.
"""

from moo.engines._threads import OneAtATime
from moo.engines.ray import RayEngine, RayFleet

__all__ = ["OneAtATime", "RayEngine", "RayFleet"]
