"""The web process: pages over HTTP, live parts and output over sockets of our own origin only."""

import os
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "codecourier.settings")
os.environ.setdefault("CODECOURIER_PROCESS", "web")

from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402
from django.core.asgi import get_asgi_application  # noqa: E402

pages = get_asgi_application()

# The models of these are there only now.
from django.urls import path, re_path  # noqa: E402
from django.utils.module_loading import import_string  # noqa: E402

from codecourier.consumers import DashboardConsumer, PageConsumer, ProjectConsumer  # noqa: E402


async def unknown(scope: Any, receive: Any, send: Any) -> None:
    """A socket address that doesn't exist: closed as one that isn't for this person."""
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.close", "code": 4404})


sockets = [
    path("ws/", PageConsumer.as_asgi()),
    path("ws/p/<slug:slug>/", ProjectConsumer.as_asgi()),
    path("ws/p/<slug:slug>/dashboard/", DashboardConsumer.as_asgi()),
    # By name: this app knows none of those above it.
    path("ws/p/<slug:slug>/", URLRouter(import_string("sandboxes.sockets.sockets"))),
    re_path("", unknown),
]
application = ProtocolTypeRouter(
    {"http": pages, "websocket": AllowedHostsOriginValidator(AuthMiddlewareStack(URLRouter(sockets)))}
)
