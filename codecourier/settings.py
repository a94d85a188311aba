"""Settings, all from the environment (see .env.example); safe by default.

Without BASE_URL the portal is local: loopback hosts only, plain HTTP, a secret key and a database of its
own under STATE. With a BASE_URL it is a deployment: https, SECRET_KEY and DATABASE_URL are then required.
"""

import hashlib
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import django_stubs_ext
import environ
from django.core.exceptions import ImproperlyConfigured, ValidationError

from codecourier import endpoints, postgres, secretkey

# So that generic classes such as ModelAdmin[Any] can be written at run time as well.
django_stubs_ext.monkeypatch()

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()
if (BASE_DIR / ".env").exists():
    env.read_env(BASE_DIR / ".env")


def number(name: str, default: int, low: int, high: int) -> int:
    """An integer setting within its allowed range, or a sentence that names it."""
    raw = env.str(name, str(default))
    if not raw.strip().lstrip("-").isdigit() or not low <= int(raw) <= high:
        raise ImproperlyConfigured(f"{name} must be a whole number from {low} to {high}, not {raw!r}.")
    return int(raw)


def required(name: str, what: str) -> str:
    """A setting that a deployment can't do without."""
    value: str = env.str(name, "")
    if not value:
        raise ImproperlyConfigured(f"{name} is not set. With BASE_URL set, {what}")
    return value


def endpoint(provider: str, url: str) -> str:
    """The base URL of a provider's API, or a sentence that names the setting."""
    try:
        endpoints.validate(url)
    except ValidationError as error:
        raise ImproperlyConfigured(f"CODECOURIER_{provider.upper()}_BASE_URL: {error.messages[0]}") from error
    return url


STATE = Path(env.str("STATE", str(BASE_DIR / "state"))).resolve()
PROCESS = env.str("CODECOURIER_PROCESS", "command")

BASE_URL = env.str("BASE_URL", "").rstrip("/")
LOCAL = not BASE_URL
_base = urlsplit(BASE_URL or "http://127.0.0.1:8000")
if _base.scheme not in {"http", "https"} or not _base.hostname:
    raise ImproperlyConfigured(f"BASE_URL must look like https://courier.example.com, not {BASE_URL!r}.")
SECURE = _base.scheme == "https"

DEBUG = env.bool("DEBUG", False)
SECRET_KEY = secretkey.load(STATE) if LOCAL else required("SECRET_KEY", "it must be a long random string.")
ENCRYPTION_KEYS = env.list("ENCRYPTION_KEYS", default=[]) or [SECRET_KEY]
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["127.0.0.1", "localhost", "[::1]"] if LOCAL else [_base.hostname])
CSRF_TRUSTED_ORIGINS = [BASE_URL] if BASE_URL else []

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.humanize",
    "django.contrib.postgres",
    "django.contrib.staticfiles",
    "channels",
    "django_htmx",
    "django_filters",
    "codecourier",
    # After ours, whose templates replace theirs.
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.github",
    "allauth.socialaccount.providers.google",
    "personas",
    "sandboxes",
    "usage",
    "learnings",
    "workflows",
    "issues",
    # After ours, whose `qcluster` wraps its own.
    "django_q",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.middleware.csp.ContentSecurityPolicyMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "allauth.account.middleware.AccountMiddleware",
]

ROOT_URLCONF = "codecourier.urls"
ASGI_APPLICATION = "codecourier.asgi.application"
AUTH_USER_MODEL = "codecourier.User"
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
LOGIN_URL = "sign-in"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "sign-in"
CSRF_FAILURE_VIEW = "codecourier.views.errors.csrf_failure"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "codecourier.shell.context",
            ],
        },
    }
]

# Accounts come by invitation; whoever has one signs in by password, e-mailed code, passkey, GitHub or Google.
ACCOUNT_ADAPTER = "codecourier.accounts.AccountAdapter"
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_LOGIN_BY_CODE_ENABLED = True
ACCOUNT_EMAIL_VERIFICATION = "optional"
ACCOUNT_CHANGE_EMAIL = True
ACCOUNT_EMAIL_UNKNOWN_ACCOUNTS = False
ACCOUNT_EMAIL_SUBJECT_PREFIX = "[CodeCourier] "
ACCOUNT_DEFAULT_HTTP_PROTOCOL = "https" if SECURE else "http"
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_REAUTHENTICATION_TIMEOUT = 900
MFA_ADAPTER = "codecourier.accounts.SecondFactorAdapter"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_TOTP_ISSUER = "CodeCourier"
# Browsers give passkeys to https origins and to localhost only.
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = not SECURE
SOCIALACCOUNT_ADAPTER = "codecourier.accounts.SocialAdapter"
SOCIALACCOUNT_EMAIL_AUTHENTICATION = True
SOCIALACCOUNT_EMAIL_AUTHENTICATION_AUTO_CONNECT = True
SOCIALACCOUNT_STORE_TOKENS = False
_login_apps = {
    "github": (env.str("GITHUB_LOGIN_CLIENT_ID", ""), env.str("GITHUB_LOGIN_SECRET", "")),
    "google": (env.str("GOOGLE_LOGIN_CLIENT_ID", ""), env.str("GOOGLE_LOGIN_SECRET", "")),
}
SOCIALACCOUNT_PROVIDERS: dict[str, dict[str, Any]] = {
    name: {"APPS": [{"client_id": client, "secret": secret}]}
    for name, (client, secret) in _login_apps.items()
    if client
}
SIGN_IN_HOSTS = {"github": "github.com", "google": "accounts.google.com"}
if "github" in SOCIALACCOUNT_PROVIDERS:
    SOCIALACCOUNT_PROVIDERS["github"]["SCOPE"] = ["user:email"]

EMBEDDED_POSTGRES = LOCAL and not env.str("DATABASE_URL", "")
_database_url = (
    postgres.url(STATE) if EMBEDDED_POSTGRES else required("DATABASE_URL", "it must be the URL of a PostgreSQL server.")
)
DATABASES: dict[str, dict[str, Any]] = {"default": environ.Env.db_url_config(_database_url)}
if "postgresql" not in DATABASES["default"]["ENGINE"]:
    raise ImproperlyConfigured("DATABASE_URL must be a postgres:// URL: PostgreSQL is the only database.")
DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
if PROCESS == "web":
    # Requests come in bursts over many threads: a pool, as kept-open connections ran out of server slots.
    # Given up soon and asked for anew by the next request: the pool's own back-off kept a web process without a
    # database for 16 s after the server was back.
    pool = {"min_size": 2, "max_size": 20, "timeout": 10, "reconnect_timeout": 2}
    DATABASES["default"].setdefault("OPTIONS", {})["pool"] = pool
else:
    DATABASES["default"]["CONN_MAX_AGE"] = 600

TASKS = {"default": {"BACKEND": "codecourier.queue.DjangoQBackend"}}
Q_CLUSTER = {
    "name": "codecourier",
    "orm": "default",
    "workers": number("WORKERS", 4, 1, 64),
    "poll": 0.05,
    "queue_limit": 1,
    "bulk": 1,
    "timeout": 300,
    "retry": 1800,
    "max_attempts": 1,
    "ack_failures": True,
    "save_limit": 200,
    "catch_up": False,
    "scheduler": False,
    "log_level": "WARNING",
}

STATIC_URL = "static/"
STATIC_ROOT = None if LOCAL else BASE_DIR / "staticfiles"  # a local portal serves them from where they are
STATICFILES_DIRS = [
    BASE_DIR / "static",
    *[
        (f"vendor/{name}", BASE_DIR / "node_modules" / path)
        for name, path in {
            "tabler/css": "@tabler/core/dist/css",
            "tabler/js": "@tabler/core/dist/js",
            "tabler/img": "@tabler/core/dist/img",  # its style sheets name them
            "icons": "@tabler/icons-webfont/dist",
            "xterm": "@xterm/xterm",
            "xterm-fit": "@xterm/addon-fit/lib",
            "xterm-links": "@xterm/addon-web-links/lib",
            "idiomorph": "idiomorph/dist",
            "chartjs": "chart.js/dist",
            "sortable": "sortablejs",
        }.items()
    ],
]
WHITENOISE_USE_FINDERS = LOCAL
# Found at each request: a list made at the start would promise a length that a file has no more after a `git pull`,
# and the browser would wait for the rest.
WHITENOISE_AUTOREFRESH = LOCAL
if not LOCAL:
    STORAGES = {
        "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
        "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
    }

LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False

SECURE_CSP = {
    "default-src": ["'self'"],
    "script-src": ["'self'"],
    # xterm.js writes its own style elements.
    "style-src": ["'self'", "'unsafe-inline'"],
    "img-src": ["'self'", "data:"],
    "connect-src": ["'self'"],
    "object-src": ["'none'"],
    "base-uri": ["'none'"],
    "frame-ancestors": ["'none'"],
    # Chromium judges where a form's answer leads as well.
    "form-action": [
        "'self'",
        *[f"https://{host}" for name, host in SIGN_IN_HOSTS.items() if name in SOCIALACCOUNT_PROVIDERS],
    ],
}
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE
SECURE_SSL_REDIRECT = SECURE
SECURE_HSTS_SECONDS = 31_536_000 if SECURE else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = SECURE
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if SECURE else None
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
_mail_backend = f"django.core.mail.backends.{'console' if LOCAL else 'smtp'}.EmailBackend"
DEFAULT_FROM_EMAIL = env.str("MAIL_FROM", f"CodeCourier <courier@{_base.hostname}>")
MAILERS = {"default": {"BACKEND": env.str("EMAIL_BACKEND", _mail_backend)}}

# What a sandbox may do and how long things may take. Times are for people who wait, so they are short.
# Marks our machines at the provider; two installations must never share it, or one would sweep the other's.
DEPLOYMENT = env.str("DEPLOYMENT", f"{_base.hostname}-{hashlib.sha256(SECRET_KEY.encode()).hexdigest()[:10]}")
# Keys and API addresses of the whole deployment, by provider; a row in the admin goes before them.
_keys = {
    "anthropic": env.str("CODECOURIER_ANTHROPIC_API_KEY", ""),
    "anthropic_token": env.str("CODECOURIER_ANTHROPIC_TOKEN", ""),
    "openai": env.str("CODECOURIER_OPENAI_API_KEY", ""),
    "openrouter": env.str("CODECOURIER_OPENROUTER_API_KEY", ""),
    "e2b": env.str("CODECOURIER_E2B_API_KEY", ""),
    "github": env.str("CODECOURIER_GITHUB_API_KEY", ""),
}
PROVIDER_KEYS = {provider: key.strip() for provider, key in _keys.items() if key.strip()}
_urls = {
    "anthropic": env.str("CODECOURIER_ANTHROPIC_BASE_URL", ""),
    "openai": env.str("CODECOURIER_OPENAI_BASE_URL", ""),
    "openrouter": env.str("CODECOURIER_OPENROUTER_BASE_URL", ""),
    "github": env.str("CODECOURIER_GITHUB_BASE_URL", ""),
}
PROVIDER_URLS = {provider: endpoint(provider, url.strip()) for provider, url in _urls.items() if url.strip()}
E2B_API_KEY = PROVIDER_KEYS.get("e2b", "")
E2B_API_URL = env.str("CODECOURIER_E2B_BASE_URL", "")
E2B_SANDBOX_URL = env.str("CODECOURIER_E2B_SANDBOX_URL", "")
# "egress": model keys are added outside the machine. "environment": for a provider of machines that can't do that,
# they are given to the agent's own process.
MODEL_KEYS = env.str("MODEL_KEYS", "egress")
if MODEL_KEYS not in {"egress", "environment"}:
    raise ImproperlyConfigured(f"MODEL_KEYS must be egress or environment, not {MODEL_KEYS!r}.")
SANDBOX_ALLOW_PRIVATE = env.list("SANDBOX_ALLOW_PRIVATE", default=[])
# The agents' programs for local sandboxes, which see this folder and everything in it.
TOOLS = Path(env.str("TOOLS", str(STATE / "tools"))).resolve()
ALLOW_LOCAL_REPOSITORIES = env.bool("ALLOW_LOCAL_REPOSITORIES", LOCAL)
STOP_GRACE = timedelta(seconds=number("STOP_GRACE_SECONDS", 15, 1, 120))
IDLE_PAUSE = timedelta(seconds=number("IDLE_PAUSE_SECONDS", 900, 5, 86_400))
SILENCE = timedelta(seconds=number("SILENCE_SECONDS", 600, 1, 86_400))
DATA_UPLOAD_MAX_NUMBER_FILES = 250  # a skill may have 200
CHECKPOINT_BYTES = number("CHECKPOINT_MB", 4096, 1, 102_400) * 1024 * 1024
UPLOAD_BYTES = number("UPLOAD_MB", 512, 1, 10_240) * 1024 * 1024
# Pages served in sandboxes have an origin of their own below this name, which must not be the portal's: there they
# can neither read nor set a cookie of the portal. Locally every browser takes *.localhost for this machine.
PREVIEW_DOMAIN = env.str("PREVIEW_DOMAIN", "localhost" if LOCAL else "").strip(".").lower()
if PREVIEW_DOMAIN and f".{_base.hostname}".endswith(f".{PREVIEW_DOMAIN}"):
    raise ImproperlyConfigured(
        f"PREVIEW_DOMAIN must not be the portal's own name or above it, as {PREVIEW_DOMAIN!r} is: use another domain."
    )
OUTPUT_CAP_BYTES = number("OUTPUT_CAP_MB", 64, 1, 4096) * 1024 * 1024
TRASH_DAYS = number("TRASH_DAYS", 30, 1, 3650)
PAUSED_DAYS = number("PAUSED_DAYS", 14, 1, 3650)
# What the plan of the machines' provider allows; more waits in line.
E2B_MAX_RUNNING = number("E2B_MAX_RUNNING", 20, 1, 10_000)
E2B_CREATES_PER_SECOND = number("E2B_CREATES_PER_SECOND", 1, 1, 100)
E2B_MAX_SESSION = timedelta(seconds=number("E2B_MAX_SESSION_SECONDS", 3600, 600, 604_800))
# Runs of workflows at work at once, in all and of one project; more waits in line.
RUNS_AT_ONCE = number("RUNS_AT_ONCE", 20, 1, 1000)
RUNS_PER_PROJECT = number("RUNS_PER_PROJECT", 5, 1, 1000)
LOCAL_MAX_RUNNING = number("LOCAL_MAX_RUNNING", 20, 1, 1000)
PROVIDER_TIMEOUT = timedelta(seconds=number("PROVIDER_TIMEOUT_SECONDS", 600, 60, 3600))

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": env.str("LOG_LEVEL", "INFO")},
    "loggers": {
        "django.channels.server": {"level": "WARNING"},
        "daphne": {"level": "WARNING"},
        "django-q": {"level": "WARNING"},
        "httpx": {"level": "WARNING"},
        "e2b": {"level": "WARNING"},
    },
}
