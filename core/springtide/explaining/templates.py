"""The words of reasons: one file a language, shipped or the owner's."""

import functools
import string
import threading
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog

from springtide.errors import InvalidRequestError, SettingsError
from springtide.plugins.contracts import Factor

logger = structlog.stdlib.get_logger(__name__)

DEFAULT_LANGUAGE = "en"
_SHIPPED = Path(__file__).parent / "languages"
_WEIGHTS = "weights."
_LIFT = frozenset({"lift"})


class Templates:
    """The words of one language.

    Args:
        language: Its name, such as ``de``.
        words: Template by key, such as ``paths.people``; of a plugin's factor, ``weights.WEIGHT/FACTOR``.
        english: The words that take the place of missing ones; None for the English ones themselves.

    Attributes:
        language: Its name.

    Raises:
        SettingsError: If a key is unknown, or a template has a placeholder that its key does not have.
    """

    def __init__(self, language: str, words: Mapping[str, str], english: "Templates | None" = None) -> None:
        self.language = language
        self._words = words
        self._english = english
        self._said: set[str] = set()  # The missing keys that were logged.
        self._lock = threading.Lock()
        known = self._words if english is None else english._words
        for key, template in words.items():
            if key.startswith(_WEIGHTS):
                allowed: frozenset[str] = _LIFT
            elif key in known:
                allowed = _placeholders(key, known[key]) | _ALSO.get(key, frozenset())
            else:
                raise SettingsError(f"words of {language}: no key {key!r} (choices: {', '.join(sorted(known))})")
            unknown = _placeholders(f"{language}: {key}", template) - allowed
            if unknown:
                choices = ", ".join(sorted(allowed)) or "none"
                raise SettingsError(f"words of {language}: {key}: no placeholder {min(unknown)!r} (choices: {choices})")

    @property
    def missing(self) -> tuple[str, ...]:
        """The keys that English has and this language lacks, those of plugins left out."""
        if self._english is None:
            return ()
        return tuple(key for key in self._english._words if key not in self._words and not key.startswith(_WEIGHTS))

    def say(self, key: str, **values: str) -> str:
        """Return the words of a key with values in the place of its placeholders.

        Raises:
            KeyError: If English has no such key.
        """
        template = self._words.get(key)
        if template is None and self._english is not None:
            self._note_missing(key)
            return self._english.say(key, **values)
        if template is None:
            raise KeyError(key)
        return template.format(**values)

    def weight_words(self, weight: str, factor: Factor) -> str:
        """Return the template of a plugin's factor: that of this language, else the plugin's own; empty if none."""
        key = f"{_WEIGHTS}{weight}/{factor.name}"
        template = self._words.get(key)
        if template is None and self._english is not None:
            if factor.words and self.language != DEFAULT_LANGUAGE:
                self._note_missing(key)
            template = self._english._words.get(key)
        return factor.words if template is None else template

    def count(self, count: int) -> str:
        """Return a whole number as the language writes it."""
        return f"{count:,}".replace(",", self.say("numbers.thousands"))

    def number(self, number: float) -> str:
        """Return a number with one decimal as the language writes it."""
        return f"{number:.1f}".replace(".", self.say("numbers.decimal"))

    def _note_missing(self, key: str) -> None:
        with self._lock:
            if key in self._said:
                return
            self._said.add(key)
        logger.warning("words_missing", language=self.language, key=key)


class Languages:
    """All languages that reasons can be worded in.

    Args:
        folder: The owner's files, ``LANGUAGE.toml``; what they say takes the place of the shipped words. None for none.
        default: The language of requests that name none.

    Raises:
        SettingsError: If a file cannot be read, or there is no such default.
    """

    def __init__(self, folder: Path | None = None, default: str = DEFAULT_LANGUAGE) -> None:
        files: dict[str, list[Path]] = {}
        for each in (_SHIPPED, folder):
            if each is None:
                continue
            if not each.is_dir():
                raise SettingsError(f"explain.templates: {each} is not a folder")
            for path in sorted(each.glob("*.toml")):
                files.setdefault(path.stem, []).append(path)
        read = {language: _merged(paths) for language, paths in files.items()}
        shipped = Templates(DEFAULT_LANGUAGE, _read(_SHIPPED / f"{DEFAULT_LANGUAGE}.toml"))
        english = Templates(DEFAULT_LANGUAGE, read.pop(DEFAULT_LANGUAGE), shipped)  # Keys of the owner's are checked.
        self._templates = {DEFAULT_LANGUAGE: english}
        for language, words in read.items():
            self._templates[language] = templates = Templates(language, words, english)
            if templates.missing:
                logger.warning("words_missing", language=language, key=", ".join(templates.missing))
        if default not in self._templates:
            raise SettingsError(f"explain.language: no language {default!r} (choices: {self._choices()})")
        self._default = default

    def of(self, language: str) -> Templates:
        """Return the words of a language, ``de`` for ``de-AT`` if that is not there; of the default if it is empty.

        Raises:
            InvalidRequestError: If there is no such language.
        """
        for name in (language or self._default, language.partition("-")[0]):
            if name in self._templates:
                return self._templates[name]
        raise InvalidRequestError("language", f"no language {language!r} (choices: {self._choices()})")

    def _choices(self) -> str:
        return ", ".join(sorted(self._templates))


@functools.cache
def english() -> Templates:
    """Return the shipped English words."""
    return Templates(DEFAULT_LANGUAGE, _read(_SHIPPED / f"{DEFAULT_LANGUAGE}.toml"))


# Placeholders that a key has beside those of its English words.
_ALSO = {
    "paths.people_one": frozenset({"people"}),
    "paths.people_one_recent": frozenset({"people", "recent"}),
    "paths.people_recent_one": frozenset({"recent"}),
    "paths.relation_one": frozenset({"people"}),
    "paths.relation_one_recent": frozenset({"people", "recent"}),
    "paths.relation_recent_one": frozenset({"recent"}),
    "paths.attribute_one": frozenset({"own"}),
    "paths.own_one": frozenset({"own"}),
}


def _merged(paths: list[Path]) -> dict[str, str]:
    merged: dict[str, str] = {}
    for path in paths:
        merged |= _read(path)
    return merged


def _read(path: Path) -> dict[str, str]:
    """Return the words of a file by key.

    Raises:
        SettingsError: If it is no file of words.
    """
    try:
        tables: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"explain.templates: {path} cannot be read: {error}") from error
    words: dict[str, str] = {}
    for table, entries in tables.items():
        if not isinstance(entries, dict):
            raise SettingsError(f"explain.templates: {path}: wanted tables of texts, got {table} = {entries!r}")
        for key, template in entries.items():
            if not isinstance(template, str):
                raise SettingsError(f"explain.templates: {path}: {table}.{key}: wanted a text, got {template!r}")
            words[f"{table}.{key}"] = template
    return words


def _placeholders(key: str, template: str) -> frozenset[str]:
    """Return the names in a template's braces.

    Raises:
        SettingsError: If it has others than plain names.
    """
    names = set()
    try:
        for _, name, spec, conversion in string.Formatter().parse(template):
            if name is None:
                continue
            if not name.isidentifier() or spec or conversion:
                raise SettingsError(f"{key}: wanted plain placeholders such as {{lift}}, got {template!r}")
            names.add(name)
    except ValueError as error:
        raise SettingsError(f"{key}: {template!r} cannot be read: {error}") from error
    return frozenset(names)
