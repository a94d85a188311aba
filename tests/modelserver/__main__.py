"""`python -m tests.modelserver`: a server to try a CLI against, until interrupted."""

import threading

from . import ModelServer

with ModelServer.running() as server:
    print(f"base URL {server.url('try')}  key {server.key}", flush=True)
    threading.Event().wait()
