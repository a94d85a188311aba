"""Addresses of this app's sockets, below a project's."""

from django.urls import path

from .consumers import SessionsConsumer

sockets = [path("learnings/sessions/", SessionsConsumer.as_asgi())]
