"""Addresses of this app's sockets, below a project's."""

from django.urls import path

from . import consumers

sockets = [
    path("issues/", consumers.BoardConsumer.as_asgi()),
    path("issues/<int:pk>/", consumers.IssueConsumer.as_asgi()),
    path("issues/sessions/", consumers.SessionsConsumer.as_asgi()),
    path("issues/sessions/<int:pk>/", consumers.SessionConsumer.as_asgi()),
    path("issues/questions/", consumers.QuestionsConsumer.as_asgi()),
    path("issues/chains/", consumers.ChainsConsumer.as_asgi()),
    path("issues/chains/<int:pk>/", consumers.ChainConsumer.as_asgi()),
]
