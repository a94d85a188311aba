"""Addresses."""

from allauth.account.decorators import secure_admin_login
from allauth.account.views import login
from django.contrib import admin
from django.urls import include, path

from codecourier.views import account, members, projects, settings

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
    path("favicon.ico", account.favicon, name="favicon"),
    path("notifications/", account.notifications, name="notifications"),
    path("notifications/read/", account.mark_read, name="mark-read"),
    path("projects/", projects.projects, name="projects"),
    path("projects/new/", projects.new, name="project-new"),
    path("p/<slug:slug>/", projects.dashboard, name="project"),
    path("p/<slug:slug>/members/", members.index, name="members"),
    path("p/<slug:slug>/members/invite/", members.invite, name="member-invite"),
    path("p/<slug:slug>/members/<int:pk>/role/", members.set_role, name="member-role"),
    path("p/<slug:slug>/members/<int:pk>/remove/", members.remove, name="member-remove"),
    path("p/<slug:slug>/invitations/<int:pk>/withdraw/", members.withdraw, name="invitation-withdraw"),
    path("p/<slug:slug>/settings/", settings.settings, name="settings"),
    path("p/<slug:slug>/settings/keys/set/", settings.set_key, name="key-set"),
    path("p/<slug:slug>/settings/keys/<int:pk>/", settings.change_key, name="key-change"),
    path("p/<slug:slug>/settings/variables/set/", settings.set_variable, name="variable-set"),
    path("p/<slug:slug>/settings/variables/paste/", settings.paste, name="variables-paste"),
    path("p/<slug:slug>/settings/variables/<int:pk>/drop/", settings.drop_variable, name="variable-drop"),
    path("p/<slug:slug>/settings/transfer/", settings.transfer, name="project-transfer"),
    path("p/<slug:slug>/settings/delete/", settings.delete, name="project-delete"),
    path("p/<slug:slug>/settings/<str:tab>/", settings.settings, name="settings-tab"),
    path("invitations/<str:token>/", members.invitation, name="invitation"),
    path("", include("usage.urls")),
    path("p/<slug:slug>/", include("sandboxes.urls")),
    path("p/<slug:slug>/", include("personas.urls")),
    path("p/<slug:slug>/", include("workflows.urls")),
    path("p/<slug:slug>/", include("issues.urls")),
    path("p/<slug:slug>/", include("learnings.urls")),
    path("admin/", admin.site.urls),
]

handler400 = "codecourier.views.errors.bad_request"
handler403 = "codecourier.views.errors.not_found"
handler404 = "codecourier.views.errors.not_found"
handler500 = "codecourier.views.errors.server_error"
