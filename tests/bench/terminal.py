"""How long a keystroke takes to come back: `uv run python -m tests.bench.terminal`, one line of JSON.

Browser's end of the socket -> real web process -> local host -> shell in a real machine -> back, one key at a time.
"""

import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
django.setup()

import aiohttp  # noqa: E402
from django.test import Client  # noqa: E402

from codecourier.models import Project, User  # noqa: E402
from sandboxes.models import Sandbox  # noqa: E402
from tests import stack  # noqa: E402

KEYS = 500


async def echoes(url: str, session: str, pk: int, slug: str, keys: int) -> list[float]:
    """Milliseconds from each key to its echo."""
    address = f"{url.replace('http', 'ws')}/ws/p/{slug}/sandboxes/{pk}/terminal/?columns=80&rows=24"
    head = {"Origin": url, "Cookie": f"sessionid={session}"}
    async with aiohttp.ClientSession() as browser, browser.ws_connect(address, headers=head) as socket:
        await socket.send_bytes(b"stty -icanon echo; cat\n")
        await quiet(socket)
        took = []
        for number in range(keys):
            key = b"%c" % (97 + number % 26)
            began = time.perf_counter()
            await socket.send_bytes(key)
            while key not in await printed(socket):
                pass
            took.append((time.perf_counter() - began) * 1000)
        await socket.send_str(json.dumps({"end": True}))
        return took


async def printed(socket: aiohttp.ClientWebSocketResponse) -> bytes:
    """The next bytes of the shell; other messages count as none."""
    frame = await socket.receive(timeout=20)
    return frame.data if frame.type is aiohttp.WSMsgType.BINARY else b""


async def quiet(socket: aiohttp.ClientWebSocketResponse) -> None:
    """Until nothing comes any more."""
    try:
        while True:
            await asyncio.wait_for(socket.receive(), 1.5)
    except TimeoutError:
        return


def measured(running: stack.Stack, keys: int) -> list[float]:
    """On a sandbox of the stack's own."""
    project, user = running.project()
    sandbox = running.launch(project, "true")
    stack.wait_for(lambda: Sandbox.objects.filter(pk=sandbox.pk, status="running").exists(), "the machine", 120)
    client = Client()
    client.force_login(User.objects.get(pk=user.pk))
    slug = Project.objects.get(pk=project.pk).slug
    return asyncio.run(echoes(running.url, client.cookies["sessionid"].value, sandbox.pk, slug, keys))


def main(keys: int = KEYS) -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as folder, stack.running(Path(folder)) as running:
        took = sorted(measured(running, keys))
    figures = {"keys": len(took), "p50_ms": statistics.median(took), "p95_ms": took[int(len(took) * 0.95)]}
    print(json.dumps({name: round(value, 2) for name, value in {**figures, "max_ms": took[-1]}.items()}))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
