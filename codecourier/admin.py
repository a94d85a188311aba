"""The base in the Django admin; a key's value is written here, never read."""

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth.forms import ReadOnlyPasswordHashField
from django.db import transaction
from django.http import HttpRequest

from .audit import note
from .models import AuditEntry, Endpoint, Invitation, Membership, Notification, Project, ProviderKey, User, Variable

admin.site.site_header = admin.site.site_title = "CodeCourier"


class Audited(admin.ModelAdmin[Any]):
    """Every change leaves an audit entry, without any value."""

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Beside Django's own log."""
        note(request.user, f"{obj._meta.model_name}.changed", obj, fields=_fields(message))
        return super().log_change(request, obj, message)

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Beside Django's own log."""
        note(request.user, f"{obj._meta.model_name}.added", obj)
        return super().log_addition(request, obj, message)

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        """Beside Django's own log."""
        for obj in queryset:
            note(request.user, f"{obj._meta.model_name}.deleted", obj)
        return super().log_deletions(request, queryset)


def _fields(message: Any) -> list[str]:
    changes = message if isinstance(message, list) else []
    return [field for change in changes for field in change.get("changed", {}).get("fields", [])]


class PasswordForm(forms.ModelForm):
    """A user with the password as a link to its own page."""

    password = ReadOnlyPasswordHashField(help_text='Change it <a href="../password/">here</a>.')


@admin.register(User)
class UserAdmin(Audited):
    """People; accounts are deactivated rather than deleted."""

    form = PasswordForm
    list_display = ["email", "name", "is_staff", "is_active", "joined_at", "last_login"]
    search_fields = ["email", "name"]
    fields = ["email", "name", "is_active", "is_staff", "is_superuser", "user_permissions"]
    filter_horizontal = ["user_permissions"]


class MembershipInline(admin.TabularInline[Any, Any]):
    """Who works in a project."""

    model = Membership
    autocomplete_fields = ["user"]
    extra = 0


class SecretInput(forms.PasswordInput):
    """Shows that something is set, never what."""

    def __init__(self) -> None:
        super().__init__(attrs={"autocomplete": "off", "placeholder": "unchanged"}, render_value=False)


class WriteOnlyForm(forms.ModelForm):
    """Leaving the secret empty keeps the one that is stored."""

    hidden = "secret"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields[self.hidden].widget = SecretInput()
        self.fields[self.hidden].required = self.instance.pk is None
        self.initial.pop(self.hidden, None)

    def clean(self) -> dict[str, Any] | None:
        """An empty field means: as it was."""
        data = super().clean() or self.cleaned_data
        if not data.get(self.hidden) and self.instance.pk:
            data[self.hidden] = (
                type(self.instance)._default_manager.values_list(self.hidden, flat=True).get(pk=self.instance.pk)
            )
        return data


class KeyForm(WriteOnlyForm):
    """A provider key."""

    class Meta:
        model = ProviderKey
        fields = ["project", "provider", "origin", "secret"]


class VariableForm(WriteOnlyForm):
    """An environment variable; its value is shown nowhere here, secret or not."""

    hidden = "value"

    class Meta:
        model = Variable
        fields = ["project", "name", "value", "secret"]


@admin.register(Project)
class ProjectAdmin(Audited):
    """Projects with their members."""

    list_display = ["name", "slug", "repository_url", "created_at"]
    search_fields = ["name", "slug"]
    prepopulated_fields = {"slug": ["name"]}
    inlines = [MembershipInline]


@admin.register(Membership)
class MembershipAdmin(Audited):
    """Who may do what where."""

    list_display = ["user", "project", "role", "since"]
    list_filter = ["role"]
    autocomplete_fields = ["user", "project"]


@admin.register(ProviderKey)
class ProviderKeyAdmin(Audited):
    """Credentials: write-only."""

    form = KeyForm
    list_display = ["provider", "project", "hint", "set_by", "set_at"]
    list_filter = ["provider"]
    autocomplete_fields = ["project"]

    def save_model(self, request: HttpRequest, obj: ProviderKey, form: Any, change: bool) -> None:
        """Remember who set it."""
        obj.set_by = request.user if isinstance(request.user, User) else None
        with transaction.atomic():
            super().save_model(request, obj, form, change)


@admin.register(Endpoint)
class EndpointAdmin(Audited):
    """Gateways and model servers of one's own, for a project or for all."""

    list_display = ["provider", "project", "base_url"]
    list_filter = ["provider"]
    autocomplete_fields = ["project"]


@admin.register(Variable)
class VariableAdmin(Audited):
    """Environment variables of projects."""

    form = VariableForm
    list_display = ["name", "project", "secret"]
    search_fields = ["name"]
    autocomplete_fields = ["project"]


@admin.register(Notification)
class NotificationAdmin(admin.ModelAdmin[Any]):
    """What people were told."""

    list_display = ["text", "user", "project", "level", "at", "read_at"]
    list_filter = ["level"]


@admin.register(AuditEntry)
class AuditEntryAdmin(admin.ModelAdmin[Any]):
    """The audit log: read only."""

    list_display = ["at", "actor", "action", "subject", "project"]
    search_fields = ["subject", "action"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Written by what happens."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Kept as it is."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Kept for ever."""
        return False


@admin.register(Invitation)
class InvitationAdmin(admin.ModelAdmin[Any]):
    """Open doors: made in the portal, where their links are mailed."""

    list_display = ["email", "project", "role", "invited_by", "at", "expires_at", "accepted_at"]
    list_filter = ["role", "project"]
    search_fields = ["email"]
    list_select_related = ["project", "invited_by"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        """A link is shown to nobody but its address."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Withdrawn or waited for, never bent."""
        return False
