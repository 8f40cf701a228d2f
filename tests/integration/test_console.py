"""The console beside a running server: events in and out, what is live, dead letters, and how it begins and ends."""

import contextlib
import http.client
import json
import os
import queue
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from springtide.v1 import events_pb2

SPRINGTIDE = Path(sys.executable).with_name("springtide")
NOW = "2024-12-26T12:00:00Z"
RECOMMEND = "/springtide.v1.RecommenderService/Recommend"
pytestmark = pytest.mark.timeout(300)
BUDGET_S = 60.0


class Stream(threading.Thread):
    """Reads server-sent events; ``until`` returns the data of the next one that is wanted."""

    def __init__(self, url: str, path: str) -> None:
        super().__init__(daemon=True)
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=BUDGET_S)
        self._connection.request("GET", path)
        self.response = self._connection.getresponse()
        self._events: queue.Queue[tuple[str, Any]] = queue.Queue()
        self.start()

    def run(self) -> None:
        name = ""
        with contextlib.suppress(OSError, ValueError, AttributeError):
            for line in self.response:
                word, _, rest = line.decode().strip().partition(": ")
                if word == "event":
                    name = rest
                elif word == "data":
                    self._events.put((name, json.loads(rest)))
        self._events.put(("end", None))

    def until(self, name: str, is_it: Callable[[Any], bool] = lambda data: True) -> Any:
        give_up_s = time.monotonic() + BUDGET_S
        while True:
            found, data = self._events.get(timeout=max(0.1, give_up_s - time.monotonic()))
            if found == name and is_it(data):
                return data
            assert found != "end", f"ended before {name}"

    def close(self) -> None:
        with contextlib.suppress(OSError, AttributeError):
            self._connection.sock.shutdown(socket.SHUT_RDWR)
        self.join(BUDGET_S)
        self.response.close()
        self._connection.close()


@pytest.fixture
def stream(live: Any) -> Iterator[Callable[[str], Stream]]:
    opened = []

    def open_stream(path: str) -> Stream:
        opened.append(Stream(live.url, path))
        return opened[-1]

    yield open_stream
    for each in opened:
        each.close()


def purchase(user: str, item: str) -> dict[str, Any]:
    return {"eventTime": NOW, "interaction": {"user": user, "item": item, "type": "purchase"}}


def test_an_answer_counts_the_events_that_were_sent_before_it(live: Any) -> None:
    status, sent = live.ask("/v1/events", [purchase("somebody new", "item-00"), purchase("somebody new", "item-01")])
    assert (status, sent["numPublished"], sent["refused"]) == (200, 2, [])
    request = {"user": "somebody new", "minPosition": sent["position"], "wait": "10s", "excludeSeen": ["purchase"]}
    status, answer = live.ask(RECOMMEND, {**request, "count": 36})
    assert status == 200, answer
    assert answer["personalization"] == "PERSONALIZATION_FOLDED_IN"
    assert {"item-00", "item-01"}.isdisjoint(item["item"] for item in answer["items"])


def test_the_status_comes_each_second_and_many_browsers_ask_as_one(live: Any, stream: Callable[[str], Stream]) -> None:
    def num_asked() -> int:
        calls = {each.method: each for each in live.client.status().calls}
        return sum(calls["springtide.v1.AdminService/GetStatus"].num_ended.values())

    first = stream("/v1/now")
    assert first.response.getheader("content-type") == "text/event-stream; charset=utf-8"
    assert first.until("history")
    assert first.until("status")["modelVersion"] == live.client.status().model_version
    others = [stream("/v1/now") for _ in range(7)]
    before, began_s = num_asked(), time.monotonic()
    for _ in range(3):
        for each in (first, *others):
            each.until("status")
    asked, took_s = num_asked() - before, time.monotonic() - began_s
    assert asked <= took_s + 3  # Eight browsers would have asked 24 times.
    assert first.until("rates", lambda data: data["eventsPerS"] is not None)["requestsPerS"] >= 0
    live.ask("/v1/events", [purchase("ann", "item-00")] * 50)
    assert first.until("rates", lambda data: data["eventsPerS"] > 1)
    assert len(stream("/v1/now").until("history")) >= 3


def test_events_are_shown_as_they_come_in_from_then_on(live: Any, stream: Callable[[str], Stream]) -> None:
    all_of_them = stream("/v1/events")
    all_of_them.until("watching")
    of_bob = stream("/v1/events?user=bob")
    of_bob.until("watching")
    live.ask("/v1/events", [purchase("ann", "item-03"), purchase("bob", "item-04")])
    seen: list[Any] = []
    while len(seen) < 2:  # The embedded broker's end is too low: what came in the second before is shown, too.
        more = all_of_them.until("events")["events"]
        seen += [each for each in more if each["item"] != "item-00"]
    assert sorted((each["user"], each["item"]) for each in seen) == [("ann", "item-03"), ("bob", "item-04")]
    assert {each["eventTime"] for each in seen} == {NOW}
    assert all(each["kind"] == "interaction" and each["place"].count(":") == 1 for each in seen)
    only = of_bob.until("events")
    assert [each["user"] for each in only["events"]] == ["bob"]
    many = [purchase(f"user-{number % 60:02}", "item-05") for number in range(400)]
    live.ask("/v1/events", many)
    shown = left_out = 0
    while shown + left_out < 400:
        more = all_of_them.until("events")
        shown, left_out = shown + len(more["events"]), left_out + more["numNotShown"]
    assert shown < 200  # At most fifty a second, and what the seconds before had left.


def test_dead_letters_are_shown_and_published_again(live: Any) -> None:
    live.publish(events_pb2.Event(interaction=events_pb2.Interaction(user="eve", item="tea", type="purchase")))

    def letters() -> Any:
        return live.ask("/v1/dead-letters?reason=missing_time")[1]

    give_up_s = time.monotonic() + BUDGET_S
    while not letters()["letters"]:
        assert time.monotonic() < give_up_s
        time.sleep(0.1)
    found = letters()
    meanings = {each["reason"]: each["meaning"] for each in found["reasons"]}
    assert meanings["missing_time"] == "the event has no time"
    (letter,) = found["letters"]
    assert letter["event"] == {"interaction": {"user": "eve", "item": "tea", "type": "purchase"}}
    assert (letter["key"], letter["replayedTime"], letter["obstacle"]) == ("eve", None, "")
    assert letter["origin"]["topic"] == live.settings.kafka.topic
    status, done = live.ask("/v1/dead-letters:replay", {"place": letter["place"]})
    assert (status, done) == (200, {"numPublished": 1, "numReplayedBefore": 0, "obstacles": []})
    assert live.ask("/v1/dead-letters:replay", {"place": letter["place"]})[1]["numReplayedBefore"] == 1
    # It is as wrong as before, and comes back as a new letter.
    while len(letters()["letters"]) < 2:
        assert time.monotonic() < give_up_s
        time.sleep(0.1)
    assert sum(each["replayedTime"] is not None for each in letters()["letters"]) == 1
    status, refused = live.ask("/v1/dead-letters:replay", {"place": "0:99999"})
    assert (status, refused["code"]) == (400, "invalid_argument")


@pytest.fixture
def console(live: Any, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Run ``springtide console`` for the live server, with options and settings."""
    started = []

    def start(*options: str, **variables: str) -> subprocess.Popen[str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SPRINGTIDE_")}
        command = [str(SPRINGTIDE), "console", "--address", live.client.address, *options]
        process = subprocess.Popen(
            [*command, "--admin-address", live.client.admin_address],
            cwd=tmp_path,
            env={**environment, **variables},
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def listening_at(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    for line in process.stderr:
        if '"console_listening"' in line:
            return str(json.loads(line)["address"])
    raise AssertionError("the console has ended")


def test_it_ends_in_order_although_browsers_look(console: Callable[..., subprocess.Popen[str]]) -> None:
    process = console("--port", "0")
    looking = Stream(listening_at(process), "/v1/now")
    looking.until("status")
    process.send_signal(signal.SIGTERM)
    assert process.wait(BUDGET_S) == 0
    with pytest.raises(AssertionError, match="ended before"):
        looking.until("nothing")
    looking.close()


def test_a_port_that_is_taken_is_refused_with_a_way_out(
    live: Any, console: Callable[..., subprocess.Popen[str]]
) -> None:
    process = console("--port", str(urlsplit(live.url).port))
    _, words = process.communicate(timeout=BUDGET_S)
    assert process.returncode == 2
    assert "another process has the port (`--port`, console.port" in words


def test_other_machines_are_let_in_with_tls_and_tokens(
    console: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1", "localhost")
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    certificate.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    certificate.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    (tmp_path / "tokens").touch()
    tls = {"SPRINGTIDE_SERVER__TLS__CERT": "cert.pem", "SPRINGTIDE_SERVER__TLS__KEY": "key.pem"}
    open_to_all = {"SPRINGTIDE_CONSOLE__HOST": "0.0.0.0"}

    process = console("--port", "0", **open_to_all, **tls, SPRINGTIDE_SERVER__TOKENS__FILE="tokens")
    url = listening_at(process)
    assert url.startswith("https://0.0.0.0:")
    context = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
    own = f"https://127.0.0.1:{urlsplit(url).port}"
    with urllib.request.urlopen(f"{own}/healthz", timeout=60, context=context) as answer:
        assert answer.status == 200
    shown = ssl.get_server_certificate(("127.0.0.1", urlsplit(url).port))
    another = authority.issue_cert("127.0.0.1", "localhost")
    another.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    another.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    give_up_s = time.monotonic() + BUDGET_S
    while ssl.get_server_certificate(("127.0.0.1", urlsplit(url).port)) == shown:  # Without a restart.
        assert time.monotonic() < give_up_s
        time.sleep(0.1)
    with pytest.raises(urllib.error.HTTPError, match="401") as error:
        urllib.request.urlopen(f"{own}/v1/dead-letters?reason={quote('x')}", timeout=60, context=context)
    error.value.close()
