"""Addresses of workflows, runs and schedules, below a project's."""

from django.urls import path

from .views import builder, changes, launching, run, runs, schedules

app_name = "workflows"
urlpatterns = [
    path("workflows/", builder.index, name="list"),
    path("workflows/new/", builder.new, name="new"),
    path("workflows/<int:pk>/", builder.detail, name="detail"),
    path("workflows/<int:pk>/edit/", builder.edit, name="edit"),
    path("workflows/<int:pk>/duplicate/", builder.duplicate, name="duplicate"),
    path("workflows/<int:pk>/archive/", builder.archive, name="archive"),
    path("workflows/<int:pk>/run/", launching.launch, name="launch"),
    path("runs/", runs.index, name="runs"),
    path("runs/bulk/", runs.bulk, name="runs-bulk"),
    path("runs/<int:pk>/", run.detail, name="run"),
    path("runs/<int:pk>/changes/", changes.index, name="run-changes"),
    path("runs/<int:pk>/changes/file/", changes.one, name="run-changes-file"),
    path("runs/<int:pk>/changes/patch/", changes.patch, name="run-patch"),
    path("runs/<int:pk>/<slug:verb>/", run.do, name="run-do"),
    path("schedules/", schedules.index, name="schedules"),
    path("schedules/new/", schedules.new, name="schedule-new"),
    path("schedules/preview/", schedules.look, name="schedule-preview"),
    path("schedules/<int:pk>/", schedules.detail, name="schedule"),
    path("schedules/<int:pk>/<slug:verb>/", schedules.do, name="schedule-do"),
]
