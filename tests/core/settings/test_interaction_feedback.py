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


def test_positive_feedback_is_positive() -> None:
    assert rules_of(save={"feedback": "positive"}).positive_relations == ("save",)
    assert rules_of(save={}).positive_relations == ("save",)


def test_rule_is_not_both() -> None:
    with pytest.raises(SettingsError, match="wanted positive or negative feedback, got both"):
        InteractionRule("dislike", 1.0, is_positive=True, is_negative=True)
