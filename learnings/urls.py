"""Addresses of learnings, below a project's."""

from django.urls import path

from .views import lessons, sessions, versions

app_name = "learnings"
urlpatterns = [
    path("learnings/", lessons.inbox, name="inbox"),
    path("learnings/library/", lessons.library, name="library"),
    path("learnings/new/", lessons.new, name="new"),
    path("learnings/bulk/", lessons.bulk, name="bulk"),
    path("learnings/<int:pk>/", lessons.detail, name="lesson"),
    path("learnings/<int:pk>/merge/", lessons.merge, name="merge"),
    path("learnings/<int:pk>/<slug:verb>/", lessons.decide, name="decide"),
    path("learnings/versions/", versions.index, name="versions"),
    path("learnings/versions/compile/", versions.compile_page, name="compile"),
    path("learnings/versions/off/", versions.off, name="off"),
    path("learnings/versions/<int:number>/", versions.detail, name="version"),
    path("learnings/versions/<int:number>/activate/", versions.activate, name="activate"),
    path("learnings/versions/<int:number>/download/", versions.download, name="download"),
    path("learnings/sessions/", sessions.index, name="sessions"),
    path("learnings/sessions/<int:pk>/again/", sessions.again, name="again"),
    path("learnings/read/<int:pk>/", sessions.read, name="read"),
    path("learnings/read-run/<int:pk>/", sessions.read_run, name="read-run"),
]
