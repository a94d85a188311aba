"""Addresses of this app's sockets, below a project's."""

from django.urls import path

from .consumers import RunConsumer, RunListConsumer

sockets = [
    path("runs/", RunListConsumer.as_asgi()),
    path("runs/<int:pk>/", RunConsumer.as_asgi()),
]
