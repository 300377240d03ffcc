"""A library that looks like NVIDIA's driver, written here in C, and what the real pynvml makes of it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
DRIVER = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <stdint.h>
typedef struct { unsigned version; uint64_t total, reserved, free, used; } Memory;
typedef struct { unsigned version, sensor; int celsius; } Temperature;
typedef struct { unsigned gpu, memory; } Utilization;
typedef struct { unsigned pid; uint64_t used; unsigned gpu_instance, compute_instance; } Process;
static int refused(const char *name) {
    char key[128];
    const char *all = getenv("STUB_REFUSES");
    snprintf(key, sizeof key, ",%s=", name);
    const char *at = all ? strstr(all, key) : NULL;
    return at ? atoi(at + strlen(key)) : 0;
}
#define ASK if (refused(__func__)) return refused(__func__)
#define GIVES(name, type, value) int name(void *d, type *out) { ASK; *out = (value); return 0; }
#define PAIR(name, type, a, b) int name(void *d, type *x, type *y) { ASK; *x = (a); *y = (b); return 0; }
#define TEXT(name, value) int name(void *d, char *out, unsigned n) { \
    ASK; snprintf(out, n, value, (long)d - 1); return 0; }
int nvmlInitWithFlags(unsigned flags) { ASK; return 0; }
int nvmlShutdown(void) { return 0; }
const char *nvmlErrorString(int code) { return "words of the driver"; }
int nvmlDeviceGetCount_v2(unsigned *n) { ASK; *n = getenv("STUB_EMPTY") ? 0 : 2; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **d) { ASK; *d = (void *)(long)(index + 1); return 0; }
TEXT(nvmlDeviceGetName, "Stub %ld")
TEXT(nvmlDeviceGetUUID, "GPU-0000000%ld-1111-2222-3333-444444444444")
int nvmlSystemGetDriverVersion(char *out, unsigned n) { ASK; snprintf(out, n, "570.86.15"); return 0; }
int nvmlSystemGetCudaDriverVersion_v2(int *out) { ASK; *out = 12080; return 0; }
PAIR(nvmlDeviceGetCudaComputeCapability, int, 9, 0)
PAIR(nvmlDeviceGetMigMode, unsigned, 0, 1)
PAIR(nvmlDeviceGetEccMode, unsigned, 1, 0)
GIVES(nvmlDeviceGetPersistenceMode, unsigned, 1)
GIVES(nvmlDeviceGetEnforcedPowerLimit, unsigned, 700000)
GIVES(nvmlDeviceGetPowerUsage, unsigned, 123456)
GIVES(nvmlDeviceGetPerformanceState, unsigned, getenv("STUB_PSTATE") ? atoi(getenv("STUB_PSTATE")) : 2)
GIVES(nvmlDeviceGetCurrentClocksEventReasons, uint64_t, 0x24)
GIVES(nvmlDeviceGetCurrentClocksThrottleReasons, uint64_t, 0x8)
GIVES(nvmlDeviceGetTotalEnergyConsumption, uint64_t, 5000000000ull)
int nvmlDeviceGetMaxClockInfo(void *d, unsigned kind, unsigned *out) {
    ASK; *out = kind == 1 ? 1980 : 7; return 0;
}
int nvmlDeviceGetClockInfo(void *d, unsigned kind, unsigned *out) {
    ASK; *out = kind == 1 ? 1755 : kind == 2 ? 2619 : 7; return 0;
}
int nvmlDeviceGetTemperatureV(void *d, Temperature *t) {
    ASK; if (t->version != (sizeof *t | 1 << 24) || t->sensor) return 25; t->celsius = 61; return 0;
}
int nvmlDeviceGetTemperature(void *d, unsigned sensor, unsigned *out) {
    ASK; *out = sensor ? 1 : 62; return 0;
}
int nvmlDeviceGetUtilizationRates(void *d, Utilization *u) { ASK; u->gpu = 37; u->memory = 5; return 0; }
int nvmlDeviceGetMemoryInfo_v2(void *d, Memory *m) {
    ASK; if (m->version != (sizeof *m | 2 << 24)) return 25;
    m->total = 1000000000000ull; m->reserved = 7; m->used = 600000000000ull; m->free = 1; return 0;
}
static int list(unsigned *n, Process *out, unsigned size, const Process *all) {
    if (*n < size) { *n = size; return 7; }
    memcpy(out, all, size * sizeof *all); *n = size; return 0;
}
int nvmlDeviceGetComputeRunningProcesses_v3(void *d, unsigned *n, Process *out) {
    ASK; const Process all[] = {{12, 300, 0, 0}, {10, 100, 0, 0}}; return list(n, out, 2, all);
}
int nvmlDeviceGetComputeRunningProcesses_v2(void *d, unsigned *n, Process *out) {
    ASK; const Process all[] = {{20, 1, 0, 0}}; return list(n, out, 1, all);
}
int nvmlDeviceGetGraphicsRunningProcesses_v3(void *d, unsigned *n, Process *out) {
    ASK; const Process all[] = {{10, 90, 0, 0}, {11, UINT64_MAX, 0, 0}}; return list(n, out, 2, all);
}
int nvmlDeviceGetMPSComputeRunningProcesses_v3(void *d, unsigned *n, Process *out) { ASK; *n = 0; return 0; }
"""
READER = """
import json, os, sys
from dataclasses import asdict
from pathlib import Path
from profilers import GpuError, process_memory
from profilers._gpu import _nvml

here = Path(sys.argv[1])
_nvml.FIRST_PID_NAMESPACE = here.stat().st_ino

def read():
    try:
        with _nvml.NvmlGpus(pid_namespace=here) as gpus:
            device = gpus.n_devices - 1
            state = gpus.state(device, own_pids=[10, 11])
            found = {"facts": gpus.facts(device), "state": state, "energy": gpus.energy_mj(device)}
            found |= {str(pid): process_memory(gpus, device, pid) for pid in (10, 11, 13)}
            return {name: asdict(record) for name, record in found.items()}
    except GpuError as error:
        return {"kind": error.kind, "message": str(error)}

answers = []
for refuses in json.loads(sys.argv[2]):
    os.environ["STUB_REFUSES"] = "".join(f",{name}" for name in refuses)
    answers.append(read())
print(json.dumps(answers))
"""


def build(folder: Path) -> Path:
    """The folder, with a library in it in which two devices never change; skips where none can be built."""
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("needs a C compiler on Linux")
    pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed")
    (folder / "stub.c").write_text(DRIVER)
    command = [compiler, "-w", "-shared", "-fPIC", "-o", "libnvidia-ml.so.1", "stub.c"]
    subprocess.run(command, cwd=folder, check=True)
    return folder


def environ(driver: Path, **more: str) -> dict[str, str]:
    return {**os.environ, "LD_LIBRARY_PATH": str(driver), "PYTHONPATH": str(ROOT), **more}


def read(driver: Path, *refuses: str, **more: str) -> dict:
    """What the adapter makes of the driver's second device, with some functions refused as "name=code"."""
    return read_each(driver, [refuses], **more)[0]


def read_each(driver: Path, refuses: Sequence[Sequence[str]], **more: str) -> list[dict]:
    """The same in turn, by one process."""
    command = [sys.executable, "-c", READER, str(driver), json.dumps(refuses)]
    run = subprocess.run(command, env=environ(driver, **more), capture_output=True, text=True, check=True)
    return json.loads(run.stdout)
