"""How much may be open at once: the room that is left, for whom, and what those are told that are too many."""

import contextlib

import grpc
import pytest
from google.rpc import error_details_pb2

from springtide_services.serving.admission import Admission, OverloadedError
from springtide_services.serving.statuses import refusal_of, status_of


def test_no_more_is_let_in_than_may_be_open_and_room_is_free_again() -> None:
    admission = Admission(2)
    with contextlib.ExitStack() as others:
        others.enter_context(admission.admit())
        with admission.admit(), pytest.raises(OverloadedError, match="max_open_requests is 2,"), admission.admit():
            pass
        with admission.admit():
            pass
    with admission.admit(1.9), admission.admit(2.0):  # Each is a plain one.
        pass


def test_dear_requests_leave_a_quarter_to_plain_ones() -> None:
    admission = Admission(40)
    with contextlib.ExitStack() as dear:
        for _ in range(3):
            dear.enter_context(admission.admit(10.0))
        with pytest.raises(OverloadedError), admission.admit(10.0):
            pass
        for _ in range(10):
            dear.enter_context(admission.admit())
        with pytest.raises(OverloadedError), admission.admit():
            pass


def test_one_that_is_more_than_all_that_may_be_open_is_let_in_alone() -> None:
    admission = Admission(5)
    with admission.admit(100.0), pytest.raises(OverloadedError), admission.admit():
        pass


def test_a_request_that_fails_leaves_its_room() -> None:
    admission = Admission(1)
    for _ in range(3):
        with pytest.raises(ValueError, match="bad"), admission.admit():
            raise ValueError("bad")


def test_who_is_refused_is_told_when_to_ask_again() -> None:
    error = OverloadedError("too many")
    code, message, metadata = refusal_of(error, 10)
    assert (code, message) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "too many")
    assert ("retry-after", "1") in metadata
    retry = error_details_pb2.RetryInfo()
    assert status_of(error, 10).details[1].Unpack(retry)
    assert retry.retry_delay.seconds == 1
