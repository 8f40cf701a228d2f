"""Object stores by their own clients (obstore): S3, Google Cloud Storage, Azure; creating is a conditional write."""

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from springtide.errors import SettingsError
from springtide.extras import missing_words

SCHEMES = ("s3", "s3a", "gs", "az", "azure", "abfs", "abfss")

_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")  # Who names one decides how it is spoken to.
_MAX_ERROR_CHARS = 300  # Stores answer with pages of XML.
_RETRIES = 4
_RETRY_S = 20.0  # A heartbeat that is tried for longer comes too late.
_TIMEOUT_S = 60.0  # For one request: a segment of 80 MB over a slow line.


class ObjectFiles:
    """The objects under one URL. Names are relative to it, and errors are those of files.

    Credentials, region and endpoint come from the environment (``AWS_ACCESS_KEY_ID``, ``AWS_REGION``,
    ``AWS_ENDPOINT_URL``, …) or from the machine's role.

    Args:
        url: Such as ``s3://bucket/folder``.

    Raises:
        SettingsError: If obstore is not installed, or the URL or the environment is not what it takes.
    """

    def __init__(self, url: str) -> None:
        try:
            self._obstore: Any = importlib.import_module("obstore")
            self._exceptions: Any = importlib.import_module("obstore.exceptions")
            from_url = importlib.import_module("obstore.store").from_url
        except ModuleNotFoundError as error:
            raise SettingsError(f"{url}: {missing_words(error) or error}") from error
        retry_config = {"max_retries": _RETRIES, "retry_timeout": timedelta(seconds=_RETRY_S)}
        is_plain = any(os.environ.get(name, "").startswith("http://") for name in _ENDPOINTS)
        client_options = {"timeout": timedelta(seconds=_TIMEOUT_S), "allow_http": is_plain}
        try:
            self._store: Any = from_url(url, retry_config=retry_config, client_options=client_options)
        except (self._exceptions.BaseError, ValueError) as error:
            raise SettingsError(f"{url}: {_words(error)}") from error

    def read(self, name: str) -> bytes:
        """Return an object.

        Raises:
            FileNotFoundError: If there is none of that name.
            OSError: If it cannot be read.
        """
        with self._errors_of_files(name):
            return bytes(self._obstore.get(self._store, name).bytes())

    def read_writable(self, name: str) -> bytearray:
        """Return an object in memory of its own, without a second copy of the whole.

        Raises:
            FileNotFoundError: If there is none of that name.
            OSError: If it cannot be read.
        """
        with self._errors_of_files(name):
            answer = self._obstore.get(self._store, name)
            content, start = bytearray(answer.meta["size"]), 0
            for piece in answer.stream():
                content[start : start + len(piece)] = piece
                start += len(piece)
        if start != len(content):
            raise OSError(f"wanted {len(content)} bytes, got {start}")
        return content

    def write(self, name: str, content: bytes | memoryview) -> None:
        """Write an object, in place of one of that name.

        Raises:
            OSError: If it cannot be written.
        """
        with self._errors_of_files(name):
            self._obstore.put(self._store, name, content)

    def create(self, name: str, content: bytes) -> None:
        """Write an object that must not exist yet: of two writers at once, one is refused.

        Raises:
            FileExistsError: If it exists.
            OSError: If it cannot be written.
        """
        with self._errors_of_files(name):
            self._obstore.put(self._store, name, content, mode="create")

    def exists(self, name: str) -> bool:
        """Return whether there is an object of a name.

        Raises:
            OSError: If the store does not say.
        """
        try:
            with self._errors_of_files(name):
                self._obstore.head(self._store, name)
        except FileNotFoundError:
            return False
        return True

    def entries(self, folder: str) -> dict[str, int | None]:
        """Return the sizes of the objects in a folder by name, in bytes; None for folders in it.

        Raises:
            OSError: If it cannot be listed.
        """
        with self._errors_of_files(folder):
            found = self._obstore.list_with_delimiter(self._store, folder or None)
        sizes: dict[str, int | None] = {path.rpartition("/")[2]: None for path in found["common_prefixes"]}
        return {**sizes, **{each["path"].rpartition("/")[2]: each["size"] for each in found["objects"]}}

    def delete(self, name: str) -> None:
        """Delete an object, if there is one.

        Raises:
            OSError: If it cannot be deleted.
        """
        try:
            with self._errors_of_files(name):
                self._obstore.delete(self._store, name)
        except FileNotFoundError:
            pass  # Some stores say so.

    def delete_folder(self, folder: str) -> None:
        """Delete a folder with all that is in it.

        Raises:
            OSError: If it cannot be deleted.
        """
        with self._errors_of_files(folder):
            for some in self._obstore.list(self._store, folder or None):
                self._obstore.delete(self._store, [each["path"] for each in some])

    @contextmanager
    def _errors_of_files(self, name: str) -> Iterator[None]:
        """Raise the errors of a store as those of files; a network that is away is an OSError without a number."""
        try:
            yield
        except self._exceptions.AlreadyExistsError as error:
            raise FileExistsError(f"{name}: it exists") from error
        except self._exceptions.PermissionDeniedError as error:
            raise PermissionError(f"{name}: {_words(error)}") from error
        except self._exceptions.BaseError as error:
            raise OSError(f"{name}: {_words(error)}") from error
        except ValueError as error:  # A name that no object has, such as one with ``..`` in it.
            raise FileNotFoundError(f"{name!r}: {_words(error)}") from error


def _words(error: BaseException) -> str:
    """Return the first line of an error: the rest is what the server had to say, and how the client came to it."""
    return str(error).strip().partition("\n")[0][:_MAX_ERROR_CHARS]
