"""What the gateway to model endpoints costs: `uv run python -m tests.bench.gateway` prints JSON.

The same client asks the same server from outside, directly, and from inside a sandbox through the gateway; both
clocks are the machine's, so a piece of a stream can be timed from its writing to its reading.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.host.endpoints import in_thread, make_certificate
from tests.host.hosts import HostProcess

# Printed: ms of requests on a kept connection and on fresh ones, and ms from writing to reading of events.
CLIENT = """
import http.client, json, statistics, sys, time
host, port, path = sys.argv[1], int(sys.argv[2]), sys.argv[3]
def connection():
    return http.client.HTTPConnection(host, port)
def ask(link):
    start = time.perf_counter()
    link.request("POST", path + "/v1/messages", b"x" * 20000, {"x-api-key": "placeholder"})
    link.getresponse().read()
    return time.perf_counter() - start
def fresh():
    link = connection()
    taken = ask(link)
    link.close()
    return taken
kept = connection()
ask(kept)
figures = {"kept": [ask(kept) for _ in range(300)], "fresh": [fresh() for _ in range(100)], "event": []}
link = connection()
link.request("GET", path + "/stream?count=400&pause=0.003")
for line in link.getresponse():
    if line.strip():
        figures["event"].append((time.monotonic_ns() - int(line.split()[2])) / 1e9)
for name, values in figures.items():
    values.sort()
    middle, late = statistics.median(values), values[int(0.95 * len(values))]
    figures[name] = {"median_ms": round(1000 * middle, 2), "p95_ms": round(1000 * late, 2)}
print(json.dumps(figures))
"""


def measure(folder: Path) -> dict[str, Any]:
    """By way and kind of request."""
    certificate = make_certificate(folder / "endpoint.pem")
    with in_thread(certificate) as endpoint:
        plain, secure = endpoint.ports
        options = ("--kill-on-exit", "--allow-private", "127.0.0.1", "--allow-private", "localhost")
        host = HostProcess(folder / "host", *options, prefix=("env", f"SSL_CERT_FILE={certificate}")).start()
        try:
            rule = [{"transform": {"headers": {"x-api-key": "the-real-one"}}}]
            made = host.create(network={"allow_out": ["127.0.0.1"], "rules": {"127.0.0.1": rule, "localhost": rule}})
            made.files.write("client.py", CLIENT)
            direct = [sys.executable, "-c", CLIENT, "127.0.0.1", str(plain), ""]
            figures = {"direct": json.loads(subprocess.run(direct, capture_output=True, check=True).stdout)}
            for name, path in {"http": f"/http/127.0.0.1:{plain}", "https": f"/https/localhost:{secure}"}.items():
                figures[name] = json.loads(made.commands.run(f"python3 client.py 127.0.0.1 3129 {path}").stdout)
        finally:
            host.stop()
    return figures


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure(Path(folder)), indent=2))
