"""Ways in that need a browser."""

from django.contrib.auth.hashers import PBKDF2PasswordHasher
from playwright.sync_api import Page, expect

from codecourier.models import User
from tests.browser.conftest import Web


def test_a_passkey_is_made_and_lets_in(page: Page, web: Web, member: User):
    member.password = PBKDF2PasswordHasher().encode("open sesame", "salt")  # the tests' hasher is none of the product
    member.save()
    # Browsers know no passkeys of bare addresses, so the page is opened by its name.
    here = web.url.replace("127.0.0.1", "localhost")
    device = page.context.new_cdp_session(page)
    device.send("WebAuthn.enable")
    authenticator = {
        "protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True,
        "isUserVerified": True, "automaticPresenceSimulation": True,
    }  # fmt: skip
    device.send("WebAuthn.addVirtualAuthenticator", {"options": authenticator})
    page.goto(f"{here}/account/2fa/webauthn/add/")
    page.get_by_label("Email").fill(member.email)
    page.get_by_label("Password").fill("open sesame")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_label("Password").fill("open sesame")
    page.get_by_role("button", name="Confirm").click()
    page.get_by_label("Name").fill("This laptop")
    page.get_by_label("Passwordless").check()
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_text("Security key added.")).to_be_visible()
    page.goto("about:blank")
    page.context.clear_cookies()
    page.goto(f"{here}/sign-in/?next=/account/")
    page.get_by_role("button", name="Use a passkey").click()
    expect(page).to_have_url(f"{here}/account/")
