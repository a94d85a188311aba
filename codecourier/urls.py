"""Addresses."""

from allauth.account.decorators import secure_admin_login
from allauth.account.views import login
from django.contrib import admin
from django.urls import include, path

from codecourier.views import account, projects

# Its own form knows neither second factors nor a limit of attempts.
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]

urlpatterns = [
    path("", projects.home, name="home"),
    path("sign-in/", login, name="sign-in"),
    path("sign-in/<str:token>/", account.sign_in_link, name="sign-in-link"),
    path("account/", account.overview, name="account"),
    path("account/", include("allauth.urls")),
    path("sign-out/", account.sign_out, name="sign-out"),
    path("theme/", account.theme, name="theme"),
    path("notifications/", account.notifications, name="notifications"),
    path("notifications/read/", account.mark_read, name="mark-read"),
    path("projects/", projects.projects, name="projects"),
    path("projects/new/", projects.new, name="project-new"),
    path("p/<slug:slug>/", projects.dashboard, name="project"),
    path("p/<slug:slug>/", include("sandboxes.urls")),
    path("p/<slug:slug>/", include("personas.urls")),
    path("admin/", admin.site.urls),
]

handler400 = "codecourier.views.errors.bad_request"
handler403 = "codecourier.views.errors.not_found"
handler404 = "codecourier.views.errors.not_found"
handler500 = "codecourier.views.errors.server_error"
