"""The names that users rely on are those of the files in ``tests/pins``."""

from __future__ import annotations

from tests import pins


def test_settings_and_their_defaults_are_the_pinned_ones() -> None:
    assert list(pins.settings()) == pins.pinned("settings")


def test_commands_and_their_options_are_the_pinned_ones() -> None:
    assert list(pins.commands()) == pins.pinned("commands")
