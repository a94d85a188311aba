"""The web process: pages over HTTP, live parts and output over sockets of our own origin only.

Previews of servers in sandboxes have origins of their own, which are served here as well and share nothing with it.
"""

import os
from functools import partial
from importlib import import_module
from typing import Any

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.conf import settings
from django.core.asgi import get_asgi_application

# A process whose settings are read already is no web process.
if not settings.configured:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "codecourier.settings")
    os.environ.setdefault("CODECOURIER_PROCESS", "web")

pages = get_asgi_application()

# The models of these are there only now.
from django.urls import path, re_path  # noqa: E402
from django.utils.module_loading import import_string  # noqa: E402

from codecourier import pace, restart  # noqa: E402
from codecourier.consumers import DashboardConsumer, PageConsumer, ProjectConsumer  # noqa: E402


async def unknown(scope: Any, receive: Any, send: Any) -> Any:
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
    path("ws/p/<slug:slug>/", URLRouter(import_string("workflows.sockets.sockets"))),
    path("ws/p/<slug:slug>/", URLRouter(import_string("issues.sockets.sockets"))),
    path("ws/p/<slug:slug>/", URLRouter(import_string("learnings.sockets.sockets"))),
    re_path("", unknown),
]
portal = ProtocolTypeRouter(
    {"http": pages, "websocket": AllowedHostsOriginValidator(AuthMiddlewareStack(URLRouter(sockets)))}
)
previews = import_module("sandboxes.previews.proxy")


async def application(scope: Any, receive: Any, send: Any) -> None:
    """The portal, or by its host name a preview; a preview's pages never reach the portal with what they ask."""
    if previews.address(scope):
        serving = previews.application
    else:
        serving = previews.refuse if previews.asked_by_preview(scope) else portal
    if scope["type"] == "websocket":
        await restart.sockets.run(partial(pace.run, serving), scope, receive, send)
    else:
        await pace.run(serving, scope, receive, send)
