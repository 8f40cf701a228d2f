"""Secrets in settings: which values may be shown, and what is masked in everything that a process writes."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

MASK = "***"

# Options of Kafka's clients and of our own parts whose texts are no secrets. All other texts in tables of options are
# masked: what others call their secrets cannot be listed.
_HARMLESS = frozenset(
    [
        *("security_protocol", "sasl_mechanism", "sasl_mechanisms", "sasl_plain_username", "sasl_username"),
        *("sasl_kerberos_name", "sasl_kerberos_service_name", "sasl_kerberos_domain_name"),
        *("ssl_cafile", "ssl_certfile", "ssl_keyfile", "ssl_crlfile", "ssl_ciphers", "ssl_check_hostname"),
        *("ssl_ca_location", "ssl_ca_cert", "ssl_certificate_location", "ssl_key_location", "ssl_crl_location"),
        *("ssl_truststore_location", "ssl_keystore_location", "ssl_endpoint_identification_algorithm"),
        *("client_id", "client_rack", "group_id", "group_instance_id", "compression_type", "acks", "isolation_level"),
        *("auto_offset_reset", "api_version", "transactional_id", "client_dns_lookup", "metrics_recording_level"),
        *("update", "of", "distance", "recommendation", "pooling", "label", "coarsen_by", "node_type", "attribute"),
        *("names", "precision", "types", "tables", "other_tables"),
    ]
)
_OF_FREE_NAMES = frozenset(["attributes"])  # Kinds of attributes, which may be named as they like.
_SECRET_NAME = re.compile(r"pass|secret|token|credential|api_?key|access_?key|private_?key", re.IGNORECASE)

_USER_OF_URL = re.compile(r"(?<=://)[^/\s'\",]+@")
_USER_OF_SERVER = re.compile(r"(?<![^\s,'\"\[(=])[^\s,'\"@/=]+:[^\s,'\"]*@(?=[\w.\[\]:-]+:\d)")
_PARAMETER = re.compile(r"(?<=[?&])([\w.~%-]+)=[^&\s'\"#,)\]]+")
_SHORTEST = 6  # Characters of a secret that is masked wherever it stands; a shorter one is part of too many words.

_hidden: set[str] = set()  # Secrets of this process, as they may stand in what it writes.


def masked(settings: BaseModel) -> dict[str, Any]:
    """Return settings as a plain tree, its secrets masked.

    A text is masked in a table of options unless its name is known to be harmless, and elsewhere if its name speaks of
    a secret. Of URLs and servers, users and passwords are masked, and the values of parameters.
    """
    return {name: _masked(value, name) for name, value in _fields(settings)}


def hide_in_output(settings: BaseModel) -> None:
    """Let ``hidden`` mask the secrets of these settings from now on, wherever they stand."""
    for name, value in _fields(settings):
        _hidden.update(part for text in _lost(value, _masked(value, name)) for part in (text, json.dumps(text)[1:-1]))


def hidden(text: str) -> str:
    """Return a text as it may be written: without the secrets of this process, and without any in URLs and servers."""
    for secret in sorted(_hidden, key=len, reverse=True):
        text = text.replace(secret, MASK)
    return _without_shapes(text)


def _fields(settings: BaseModel) -> Iterator[tuple[str, Any]]:
    plain = settings.model_dump(mode="json")
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        yield name, value if _holds_sections(value) else plain[name]


def _holds_sections(value: Any) -> bool:
    entries = value.values() if isinstance(value, Mapping) else [value]
    return any(isinstance(entry, BaseModel) for entry in entries)


def _masked(value: Any, name: str) -> Any:
    """Return a setting as it may be shown; a plain table is one of options."""
    if isinstance(value, BaseModel):
        return masked(value)
    if isinstance(value, Mapping):
        if name in _OF_FREE_NAMES:
            return dict(value)
        return {
            key: _masked(entry, key) if _holds_sections(entry) else _option(entry, key) for key, entry in value.items()
        }
    return _by_name(value, name, may_be_shown=not _SECRET_NAME.search(name))


def _option(value: Any, name: str) -> Any:
    plain_name = name.replace(".", "_").lower()
    if isinstance(value, Mapping) and plain_name not in _HARMLESS:
        return {key: _option(entry, key) for key, entry in value.items()}
    return _by_name(value, name, may_be_shown=plain_name in _HARMLESS)


def _by_name(value: Any, name: str, *, may_be_shown: bool) -> Any:
    if isinstance(value, Mapping):
        return {key: _by_name(entry, key, may_be_shown=not _SECRET_NAME.search(key)) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_by_name(entry, name, may_be_shown=may_be_shown) for entry in value]
    if not isinstance(value, str) or not value:
        return value
    return _without_shapes(value) if may_be_shown else MASK


def _without_shapes(text: str) -> str:
    text = _USER_OF_URL.sub(f"{MASK}@", text)
    text = _USER_OF_SERVER.sub(f"{MASK}@", text)
    return _PARAMETER.sub(rf"\1={MASK}", text)


def _lost(value: Any, shown: Any) -> Iterator[str]:
    """Yield the texts that masking has taken away, whole and, of users and passwords, each by itself."""
    if isinstance(value, BaseModel):
        plain = dict(_fields(value))
        yield from (text for name, entry in plain.items() for text in _lost(entry, shown[name]))
    elif isinstance(value, Mapping):
        yield from (text for name, entry in value.items() for text in _lost(entry, shown[name]))
    elif isinstance(value, list | tuple):
        yield from (text for entry, one in zip(value, shown, strict=True) for text in _lost(entry, one))
    elif isinstance(value, str) and shown != value:
        whole = [value] if shown == MASK else []
        found = [*_USER_OF_URL.findall(value), *_USER_OF_SERVER.findall(value)]
        passwords = [user.removesuffix("@").partition(":")[2] for user in found]
        parameters = [match[0].partition("=")[2] for match in _PARAMETER.finditer(value)]
        yield from (text for text in (*whole, *passwords, *parameters) if len(text) >= _SHORTEST)
