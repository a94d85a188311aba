"""The daemon inside a local sandbox: the envd half of E2B's protocol, on the standard library alone.

Why no web framework. Measured on 2 cores with Python 3.13 (import time, resident memory of the bare process):
aiohttp 394 ms and 38 MB; the e2b wheel's connectrpc stubs 1,684 ms and 52 MB (protobuf); asyncio without `ssl`
75 ms and 16 MB. The protocol is small (one unix socket, HTTP/1.1, JSON), the daemon starts once per sandbox and idles
in hundreds of them, and without third-party packages it runs on any Python >= 3.12 from a read-only mount.
So: asyncio and a short HTTP reader.

Modules, imports run downwards: `daemon` (start, signals) - `routes` (who may call what) - `process_rpc`,
`filesystem_rpc`, `watch_rpc`, `files`, `control` (the calls) - `processes`, `pty`, `output`, `entries`, `inotify`,
`multipart`, `ports`, `metrics` (the work) - `connect`, `users` - `wire` (HTTP).
"""

# The SDK switches features on by this number: octet-stream uploads (0.5.7), file metadata (0.6.2), entry info in
# watch events (0.6.3), watching network mounts (0.6.4). Not 0.6.7, which promises an idle limit on uploads.
ENVD_VERSION = "0.6.4"
