"""Addresses of this app's sockets, below a project's."""

from django.urls import path

from .consumers.conversation import ConversationConsumer
from .consumers.live import DetailConsumer, ListConsumer, PullsConsumer
from .consumers.output import OutputConsumer
from .consumers.terminal import TerminalConsumer

sockets = [
    path("sandboxes/", ListConsumer.as_asgi()),
    path("pull-requests/", PullsConsumer.as_asgi()),
    path("sandboxes/<int:pk>/", DetailConsumer.as_asgi()),
    path("sandboxes/<int:pk>/terminal/", TerminalConsumer.as_asgi()),
    path("sandboxes/<int:pk>/conversation/", ConversationConsumer.as_asgi()),
    path("jobs/<int:job>/output/", OutputConsumer.as_asgi()),
]
