"""A training process that lacks a package says which install brings it, in one line."""

from springtide_services.training.process_main import words_of


def test_package_that_is_missing_is_a_wrong_setting_and_no_traceback():
    said = words_of(ModuleNotFoundError("No module named 'torch'", name="torch"))
    assert said == {
        "kind": "SettingsError",
        "error": "torch is not installed: pip install 'springtide[train]'",
        "traceback": "",
    }
