"""Words of reasons: chosen by the numbers, whole in each language, and the owner's before the shipped ones."""

import re
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

import springtide.explaining
from springtide.errors import InvalidRequestError, SettingsError
from springtide.explaining import paths as found_paths
from springtide.explaining.paths import PathNode
from springtide.explaining.reasons import FactorTerm, ItemHabit, path_key, path_words, reason_of, sentence_of
from springtide.explaining.templates import Languages, Templates, english
from springtide.plugins.contracts import Factor
from springtide.plugins.loading import load_plugins
from springtide.settings.model import PartSettings

FOLDER = Path(next(iter(springtide.explaining.__path__)))
NODES = (PathNode("item", "a"), PathNode("item", "x"))


def path_of(**fields: object) -> found_paths.Path:
    return found_paths.Path(**{"kind": "people", "nodes": NODES, "strength": 1.0, **fields})  # type: ignore[arg-type]


@given(
    st.sampled_from(["people", "relation"]), st.integers(0, 3000), st.integers(0, 3000), st.booleans(), st.booleans()
)
def test_words_say_no_more_than_the_numbers(
    kind: str, first: int, second: int, is_lower_bound: bool, is_none_recent: bool
) -> None:
    num_people, num_recent = max(first, second, int(kind == "people")), 0 if is_none_recent else min(first, second)

    key = path_key(
        path_of(kind=kind, num_people=num_people, num_recent_people=num_recent, is_lower_bound=is_lower_bound)
    )

    assert ("recent" in key) == (num_recent > 0)
    assert ("_one" in key and "recent_one" not in key) == (num_people == 1 and not is_lower_bound)
    if "recent_one" in key:
        assert num_recent == 1 < num_people
    assert key.endswith("link") == (num_people == 0)


@pytest.mark.parametrize("language", ["en", "de"])
@given(st.integers(1, 3000), st.integers(0, 3000), st.booleans())
def test_words_give_all_numbers_and_say_lower_bounds(
    language: str, num_people: int, num_recent: int, is_lower_bound: bool
) -> None:
    words = LANGUAGES.of(language)
    path = path_of(num_people=num_people, num_recent_people=min(num_recent, num_people), is_lower_bound=is_lower_bound)

    said = path_words(path, words)

    numbers = [int(re.sub(r"[.,]", "", number)) for number in re.findall(r"\d[\d.,]*", said)]
    assert set(numbers) <= {path.num_people, path.num_recent_people}
    if num_people > 1:
        assert path.num_people in numbers
    assert (words.say("paths.at_least", count="").strip() in said) == is_lower_bound


LANGUAGES = Languages()


@pytest.mark.parametrize("language", ["en", "de"])
def test_shipped_languages_are_whole(language: str) -> None:
    words = LANGUAGES.of(language)

    assert words.language == language
    assert words.missing == ()


def test_german_has_words_for_each_built_in_factor() -> None:
    plugins, german = load_plugins(), LANGUAGES.of("de")
    with capture_logs() as logs:
        for name in (part.name for part in plugins.parts if part.kind == "context weight"):
            for factor in plugins.make("context weight", PartSettings(name=name)).factors:
                if factor.words:
                    assert german.weight_words(name, factor) != factor.words, f"{name}/{factor.name}"
    assert logs == []


def test_the_same_numbers_are_said_in_german() -> None:
    german = LANGUAGES.of("de")
    terms = [
        FactorTerm("popularity", Factor("share", words="chosen {lift} as often as the average item"), 7.3, 1.0),
        FactorTerm("repeat", Factor("had", habit="had"), 1.0, 2.0),
    ]

    said = sentence_of(terms, habit=ItemHabit(4, 12.3, 11.2), words=german)

    assert said == (
        "1.480× so oft gewählt wie ein mittleres Ding; du wählst es etwa alle 12 Tage, zuletzt vor 11 Tagen"
    )
    path = path_of(num_people=37, num_recent_people=4)
    assert path_words(path, german) == (
        "du hast a gewählt; 37 Menschen, die das wählten, wählten auch dies, 4 davon diese Woche"
    )


def test_a_reason_begins_with_the_strongest_path_that_tells_something_new() -> None:
    paths = [path_of(kind="own", nodes=NODES[1:], num_own=3), path_of(num_people=37, num_recent_people=4)]

    def title(node: PathNode) -> str:
        return node.node_id.upper()

    assert reason_of("it suits", paths, english(), title) == (
        "you chose A; 37 people who chose it chose this too, 4 of them this week; it suits"
    )
    assert reason_of("", paths[:1], english(), title) == "you chose it on 3 days"
    assert reason_of("it suits", paths[:1], english(), title) == "it suits"


def test_words_of_the_owner_take_the_place_of_the_shipped_ones(tmp_path: Path) -> None:
    (tmp_path / "en.toml").write_text(
        '[paths]\npeople = "{people} friends of {first}"\n[weights]\n"calendar/hour" = "at this hour {lift}"\n'
    )

    words = Languages(tmp_path).of("en")

    assert path_words(path_of(num_people=2000), words) == "2,000 friends of a"
    assert path_words(path_of(num_people=1), words).startswith("you chose a")
    assert words.weight_words("calendar", Factor("hour", words="wanted {lift}")) == "at this hour {lift}"
    assert words.weight_words("calendar", Factor("weekday", words="wanted {lift}")) == "wanted {lift}"


def test_missing_words_are_said_in_english_and_logged_once(tmp_path: Path) -> None:
    (tmp_path / "fr.toml").write_text('[paths]\nown_one = "vous l\'avez déjà choisi"\n')
    with capture_logs() as logs:
        french = Languages(tmp_path, "fr").of("")
    assert [(entry["event"], entry["language"]) for entry in logs] == [("words_missing", "fr")]
    assert "paths.own," in logs[0]["key"] + ","

    assert path_words(path_of(kind="own", num_own=1), french) == "vous l'avez déjà choisi"
    with capture_logs() as logs:
        for _ in range(2):
            assert path_words(path_of(kind="own", num_own=2), french) == "you chose it on 2 days"
            assert french.weight_words("mine", Factor("tide", words="{lift} by tide")) == "{lift} by tide"
    assert [entry["key"] for entry in logs] == ["paths.own", "weights.mine/tide"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[paths]\nown = "{people}"', r"paths.own: no placeholder 'people' \(choices: own\)"),
        ('[paths]\nowns = "x"', r"no key 'paths.owns' \(choices: .*paths.own,"),
        ('[paths]\nown = "{own.__class__}"', "wanted plain placeholders"),
        ('[paths]\nown = "{own!r}"', "wanted plain placeholders"),
        ('[paths]\nown = "{own"', "cannot be read"),
        ("[paths]\nown = 3", "wanted a text, got 3"),
        ('own = "x"', "wanted tables of texts"),
        ("[paths", "cannot be read"),
    ],
)
def test_words_that_could_fail_later_are_refused_at_once(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "de.toml").write_text(text)

    with pytest.raises(SettingsError, match=said):
        Languages(tmp_path)


def test_an_unknown_language_is_refused_with_the_choices() -> None:
    with pytest.raises(InvalidRequestError, match=r"no language 'xx' \(choices: de, en\)"):
        LANGUAGES.of("xx")
    with pytest.raises(SettingsError, match=r"no language 'xx' \(choices: de, en\)"):
        Languages(default="xx")
    assert LANGUAGES.of("de-AT").language == "de"


def test_every_key_is_documented_with_its_placeholders() -> None:
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    for key, template in english()._words.items():
        [line] = [line for line in text.splitlines() if line.startswith(f"| `{key}` |")]
        names = {name for _, name, _, _ in string.Formatter().parse(template) if name}
        assert all(f"`{{{name}}}`" in line for name in names), key


def test_a_template_without_english_is_a_mistake_of_ours() -> None:
    with pytest.raises(KeyError, match="nothing"):
        Templates("en", {"a.b": "x"}).say("nothing")
