"""Projects: where a person lands, the list, a new one, pages for what went wrong."""

from django.test import Client, RequestFactory

from codecourier.models import AuditEntry, Membership, Project, User
from codecourier.views import errors
from tests.conftest import signed_in


def test_home_is_the_only_project(member_client: Client, project: Project):
    assert member_client.get("/")["Location"] == "/p/rocket/"


def test_home_is_the_project_of_last_time(member_client: Client, member: User, project: Project):
    other = Project.objects.create(name="Apollo", slug="apollo")
    Membership.objects.create(project=other, user=member)
    assert member_client.get("/")["Location"] == "/projects/"
    member_client.get("/p/rocket/")
    assert member_client.get("/")["Location"] == "/p/rocket/"


def test_home_forgets_a_project_that_the_person_has_left(member_client: Client, member: User, project: Project):
    member_client.get("/p/rocket/")
    Membership.objects.filter(user=member).delete()
    assert member_client.get("/")["Location"] == "/projects/"
    assert member_client.get("/p/rocket/").status_code == 404


def test_a_newcomer_is_told_what_a_project_is_and_makes_one(stranger_client: Client, stranger: User):
    assert "You are in no project yet" in stranger_client.get("/projects/").content.decode()
    answer = stranger_client.post("/projects/new/", {"name": "Sam's Lab"})
    assert answer["Location"] == "/p/sams-lab/"
    assert Membership.objects.get(user=stranger).role == "owner"
    assert AuditEntry.objects.get(action="project.created").actor == stranger
    assert "No sandboxes yet" in stranger_client.get("/p/sams-lab/").content.decode()


def test_two_projects_of_one_name_have_two_addresses(stranger_client: Client):
    first, second, third = (stranger_client.post("/projects/new/", {"name": "?!"})["Location"] for _ in range(3))
    assert [first, second, third] == ["/p/project/", "/p/project-2/", "/p/project-3/"]


def test_a_wrong_repository_is_refused_at_its_field_and_kept(stranger_client: Client):
    answer = stranger_client.post("/projects/new/", {"name": "Lab", "repository_url": "--upload-pack=evil"})
    page = answer.content.decode()
    assert answer.status_code == 422
    assert "A repository URL can&#x27;t start with a dash." in page
    assert 'value="--upload-pack=evil"' in page
    assert not Project.objects.exists()


def test_staff_see_every_project(project: Project, owner: User, db: None):
    staff = User.objects.create_user("ada@example.com", is_staff=True)
    assert signed_in(staff).get("/p/rocket/").status_code == 200


def test_an_unknown_address_says_what_to_do(member_client: Client):
    answer = member_client.get("/nothing/here/")
    assert answer.status_code == 404
    assert "There is nothing here for you" in answer.content.decode()


def test_the_page_for_our_own_mistakes_needs_no_database():
    # No database fixture: any query would fail this test.
    answer = errors.server_error(RequestFactory().get("/"))
    assert answer.status_code == 500
    assert "CodeCourier made a mistake" in answer.content.decode()


def test_a_form_without_its_token_is_explained(member: User, project: Project):
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(member)
    answer = browser.post("/projects/new/", {"name": "Lab"})
    assert answer.status_code == 403
    assert "This form can't be sent any more" in answer.content.decode()
