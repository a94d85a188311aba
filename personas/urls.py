"""Addresses of personas and assets, below a project's."""

from django.urls import path

from .views import assets, personas

app_name = "personas"
urlpatterns = [
    path("personas/", personas.index, name="list"),
    path("personas/new/", personas.new, name="new"),
    path("personas/<int:pk>/", personas.detail, name="detail"),
    path("personas/<int:pk>/duplicate/", personas.duplicate, name="duplicate"),
    path("personas/<int:pk>/archive/", personas.archive, name="archive"),
    path("assets/", assets.index, name="assets"),
    path("assets/new/", assets.new, name="asset-new"),
    path("assets/upload/", assets.upload, name="asset-upload"),
    path("assets/<int:pk>/", assets.detail, name="asset"),
    path("assets/<int:pk>/save/", assets.save, name="asset-save"),
    path("assets/<int:pk>/preview/", assets.preview, name="asset-preview"),
    path("assets/<int:pk>/files/", assets.change_files, name="asset-files"),
    path("assets/<int:pk>/publish/", assets.publish, name="asset-publish"),
    path("assets/<int:pk>/archive/", assets.archive, name="asset-archive"),
    path("assets/<int:pk>/download/", assets.download, name="asset-download"),
    path("assets/<int:pk>/versions/<int:number>/", assets.version, name="asset-version"),
    path("assets/<int:pk>/versions/<int:number>/restore/", assets.restore, name="asset-restore"),
]
