"""What the settings say of an interaction: that the user likes the item, nothing, or that they dislike it."""

import pytest

from springtide.errors import SettingsError
from springtide.settings.interaction_rules import InteractionRule, InteractionRules
from springtide.settings.model import Settings


def rules_of(**rule) -> InteractionRules:
    return Settings.model_validate({"interactions": rule}).interaction_rules()


def test_rules_of_the_defaults() -> None:
    rules = Settings().interaction_rules()
    assert rules.positive_relations == ("purchase", "click", "view", "rating>=4")
    assert rules.negative_relations == ("rating<=2", "dislike")
    assert rules.shown_relations == ("impression",)


@pytest.mark.parametrize(
    ("name", "rule", "negative"),
    [
        ("dislike", {"positive": False}, True),
        ("skip", {"positive": False}, True),
        ("rating<=2", {"positive": False}, True),
        ("rating", {"positive": False}, True),
        ("view", {"positive": False}, False),
        ("impression", {"positive": False}, False),
        ("view<=2", {"positive": False}, True),
        ("view", {"positive": False, "feedback": "negative"}, True),
        ("dislike", {"positive": False, "feedback": "neutral"}, False),
        ("dislike", {"feedback": "negative"}, True),
        ("dislike", {"feedback": "neutral"}, False),
    ],
)
def test_what_is_not_positive_is_negative_unless_it_says_nothing(name: str, rule: dict, negative: bool) -> None:
    rules = rules_of(**{"purchase": {}, name: rule})
    assert rules.positive_relations == ("purchase",)
    assert rules.negative_relations == ((name,) if negative else ())


@pytest.mark.parametrize(
    ("name", "rule", "is_shown"),
    [
        ("impression", {"positive": False}, True),
        ("Exposure", {"positive": False}, True),
        ("show", {"positive": False}, True),
        ("view", {"positive": False}, False),
        ("impression>=2", {"positive": False}, False),
        ("impression", {}, False),
        ("impression", {"feedback": "neutral"}, False),
        ("banner", {"feedback": "shown"}, True),
    ],
)
def test_what_was_put_before_a_user_is_shown(name: str, rule: dict, is_shown: bool) -> None:
    rules = rules_of(**{"purchase": {}, name: rule})
    assert rules.shown_relations == ((name,) if is_shown else ())
    assert rules.rules[1].feedback == ("shown" if is_shown else rules.rules[1].feedback)


def test_positive_feedback_is_positive() -> None:
    assert rules_of(save={"feedback": "positive"}).positive_relations == ("save",)
    assert rules_of(save={}).positive_relations == ("save",)


def test_rule_is_not_both() -> None:
    with pytest.raises(SettingsError, match="wanted positive or negative feedback, got both"):
        InteractionRule("dislike", 1.0, is_positive=True, is_negative=True)
    with pytest.raises(SettingsError, match="wanted negative or shown feedback, got both"):
        InteractionRule("dislike", 1.0, is_positive=False, is_negative=True, is_shown=True)
