"""Addresses of sandboxes, below a project's."""

from django.urls import path

from .views import changes, conversation, files, hooks, output, pages, previews, publishing, usage, verbs

app_name = "sandboxes"
urlpatterns = [
    path("sandboxes/", pages.index, name="list"),
    path("sandboxes/new/", pages.new, name="new"),
    path("sandboxes/new/summary/", pages.preview, name="preview"),
    path("sandboxes/bulk/", verbs.bulk, name="bulk"),
    path("sandboxes/<int:pk>/", pages.detail, name="detail"),
    path("sandboxes/<int:pk>/title/", verbs.retitle, name="retitle"),
    path("sandboxes/<int:pk>/send/", verbs.send, name="send"),
    path("sandboxes/<int:pk>/conversation/", conversation.older, name="older"),
    path("sandboxes/<int:pk>/events/<int:job>/<int:seq>/", conversation.event, name="event"),
    path("sandboxes/<int:pk>/attachments/<int:file>/", conversation.attachment, name="attachment"),
    path("sandboxes/<int:pk>/turns/<int:turn>/place/", verbs.put, name="put"),
    path("sandboxes/<int:pk>/turns/<int:turn>/edit/", verbs.edit, name="edit"),
    path("sandboxes/<int:pk>/turns/<int:turn>/withdraw/", verbs.withdraw, name="withdraw"),
    path("sandboxes/<int:pk>/usage/", usage.usage, name="usage"),
    path("sandboxes/<int:pk>/files/", files.browse, name="files"),
    path("sandboxes/<int:pk>/files/raw/", files.raw, name="file-raw"),
    path("sandboxes/<int:pk>/files/zip/", files.folder_zip, name="file-zip"),
    path("sandboxes/<int:pk>/files/upload/", files.upload, name="file-upload"),
    path("sandboxes/<int:pk>/files/rename/", files.rename, name="file-rename"),
    path("sandboxes/<int:pk>/files/remove/", files.remove, name="file-remove"),
    path("sandboxes/<int:pk>/previews/", previews.servers, name="previews"),
    path("sandboxes/<int:pk>/previews/<int:port>/", previews.enter, name="preview-enter"),
    path("sandboxes/<int:pk>/changes/", changes.changes, name="changes"),
    path("sandboxes/<int:pk>/changes/file/", changes.one, name="changes-file"),
    path("sandboxes/<int:pk>/changes/<slug:kind>/", changes.download, name="changes-download"),
    path("sandboxes/<int:pk>/work/<slug:verb>/", publishing.do, name="work"),
    path("hooks/github/", hooks.github, name="hook-github"),
    path("pull-requests/", publishing.index, name="pulls"),
    path("jobs/<int:job>/output.log", output.job_log, name="job-log"),
    *[path(f"sandboxes/<int:pk>/{verb}/", verbs.do, {"verb": verb}, name=verb) for verb in verbs.SANDBOX_VERBS],
]
