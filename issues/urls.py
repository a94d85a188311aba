"""Addresses of cards, sessions, questions and chains, below a project's."""

from django.urls import path

from .views import cards, chains, questions, sessions

app_name = "issues"
urlpatterns = [
    path("issues/", cards.index, name="list"),
    path("issues/new/", cards.new, name="new"),
    path("issues/bulk/", cards.bulk, name="bulk"),
    path("issues/<int:pk>/", cards.page, name="detail"),
    path("issues/<int:pk>/edit/", cards.edit, name="edit"),
    path("issues/<int:pk>/run/", cards.run, name="run"),
    path("issues/<int:pk>/priority/", cards.prioritise, name="priority"),
    path("issues/<int:pk>/place/", cards.place, name="place"),
    path("issues/<int:pk>/<slug:verb>/", cards.do, name="do"),
    path("issues/sessions/", sessions.index, name="sessions"),
    path("issues/sessions/new/", sessions.new, name="session-new"),
    path("issues/sessions/<int:pk>/", sessions.page, name="session"),
    path("issues/sessions/<int:pk>/stop/", sessions.stop, name="session-stop"),
    path("issues/questions/", questions.index, name="questions"),
    path("issues/questions/ask/", questions.ask, name="ask"),
    path("issues/questions/<int:pk>/answer/", questions.answer, name="answer"),
    path("issues/questions/<int:pk>/<slug:verb>/", questions.do, name="decide"),
    path("issues/chains/", chains.index, name="chains"),
    path("issues/chains/new/", chains.new, name="chain-new"),
    path("issues/chains/<int:pk>/", chains.page, name="chain"),
    path("issues/chains/<int:pk>/cancel/", chains.cancel, name="chain-cancel"),
    path("issues/chains/<int:pk>/links/<int:link>/<slug:verb>/", chains.do, name="link-do"),
]
