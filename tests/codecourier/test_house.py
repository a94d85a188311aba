"""What the house files say is what the code does."""

import re
from pathlib import Path

import pytest

from codecourier import registries

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = set(
    re.findall(r'\b(?:env\.\w+|number|required)\(\s*"([A-Z0-9_]+)"', (ROOT / "codecourier" / "settings.py").read_text())
)


@pytest.mark.parametrize("name", sorted(SETTINGS - {"CODECOURIER_PROCESS"}))
def test_every_setting_is_described(name: str) -> None:
    assert re.search(rf"^#{name}=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    assert f"`{name}`" in (ROOT / "README.md").read_text()


def test_no_setting_is_described_that_is_not_read() -> None:
    described = re.findall(r"^#([A-Z0-9_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    assert set(described) - SETTINGS == set()


def test_no_house_file_names_a_place_on_one_machine() -> None:
    for name in ("README.md", ".ci/run", "Dockerfile", "compose.yaml", "Procfile", "package-lock.json", "uv.lock"):
        assert not re.search(r"(?<![\w.])/(?:home|root|work|opt)/\w", (ROOT / name).read_text()), name


def test_every_entry_of_the_navigation_has_a_key_and_a_place_of_its_own() -> None:
    for what in ("key", "order"):
        values = [getattr(panel, what) for panel in registries.panels]
        assert len(set(values)) == len(values), sorted(values)
    # The dashboard's.
    assert "d" not in {panel.key for panel in registries.panels}
