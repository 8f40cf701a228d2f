"""The file that is the source of rules, scenarios and experiments, if settings name one."""

from pathlib import Path

from springtide.errors import InvalidRequestError
from springtide.steering.checks import Known, checked
from springtide.steering.reading import located, parse_document, text_of
from springtide.steering.values import Steering


class SteeringFile:
    """A file of rules, scenarios and experiments; it is read again when it has changed.

    Args:
        path: Where it is.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._stamp: object = None
        self._text = ""
        self._steering: Steering | None = None  # What the text says, if that can be.

    def __str__(self) -> str:
        return str(self._path)

    def has_changed(self) -> bool:
        """Return whether the file is another one than at the last ``read``, or has come or gone."""
        return self._stamp_now() != self._stamp

    def read(self, known: Known) -> Steering:
        """Return what the file says.

        Args:
            known: What there is.

        Raises:
            SteeringError: If it cannot be read, or says what makes no sense; the message begins with name and line.
        """
        stamp = self._stamp_now()
        if stamp != self._stamp or self._steering is None:
            self._stamp, self._steering = stamp, None
            self._text = text_of(self._path)
            self._steering = parse_document(self._text, str(self._path))
        try:
            return checked(self._steering, known)[0]
        except InvalidRequestError as error:
            raise located(error, self._text, str(self._path)) from error

    def _stamp_now(self) -> object:
        try:
            about = self._path.stat()
        except OSError:
            return "gone"
        return about.st_mtime_ns, about.st_size, about.st_ino
