"""What a new installation starts with; run again it changes nothing that is there."""

from codecourier import registries
from codecourier.models import Membership, Project, User

FIRST_ACCOUNT = "admin@localhost.localdomain"


def seed() -> User:
    """Stock rows of every app, and the first account with a first project; that account."""
    for sow in registries.seeds:
        sow()
    user = User.objects.filter(is_superuser=True, is_active=True).order_by("pk").first()
    user = user or User.objects.create_superuser(FIRST_ACCOUNT, name="Administrator")
    if not Project.objects.exists():
        project = Project.objects.create(name="First project", slug="first")
        Membership.objects.create(project=project, user=user, role=Membership.Role.OWNER)
        for welcome in registries.newcomers:
            welcome(project)
    return user
