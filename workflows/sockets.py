"""Addresses of this app's sockets, below a project's."""

from django.urls import path

from .consumers import RunListConsumer

sockets = [
    path("runs/", RunListConsumer.as_asgi()),
]
