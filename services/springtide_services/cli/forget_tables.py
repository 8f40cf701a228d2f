"""What the `forget` command does, and the proof that it prints."""

import contextlib
from datetime import UTC, datetime

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from springtide.clock import MS_PER_DAY, MS_PER_SECOND, Deadline
from springtide.errors import SettingsError, SpringtideError
from springtide.model.registry import ModelStore
from springtide.settings.model import Settings
from springtide.steering.store import SteeringStore
from springtide.token_search import Token
from springtide_services.forgetting.forget import (
    Proof,
    await_applied,
    await_checkpoint,
    prove,
    publish_deletion,
)
from springtide_services.forgetting.kafka_log import Log
from springtide_services.serving.client import Client, Credentials
from springtide_services.terminal import console

_FOUND, _GONE = "[red]found[/]", "[green]not found[/]"


class ForgetRun:
    """One run of the command.

    Args:
        settings: All settings; the broker is named.
        node_type: Type of the node.
        node_id: Its id.
        addresses: The server's address, and that of its listener for operators; None to ask none.
        credentials: What to show to the server.

    Raises:
        SettingsError: If the id is empty.
    """

    def __init__(
        self,
        settings: Settings,
        node_type: str,
        node_id: str,
        addresses: tuple[str, str] | None,
        credentials: Credentials,
    ) -> None:
        if not node_id.strip() or not node_type:
            raise SettingsError("wanted the id of a user, or of a node of another --type, got none")
        self._settings = settings
        self._node_type = node_type
        self._token = Token(node_id)
        self._addresses = addresses
        self._credentials = credentials
        self._out = console()

    def run(self, *, publishes: bool, verifies: bool, timeout_s: float, reads_topics: bool) -> bool:
        """Publish the deletion, and wait and search; return whether it is gone, or nobody wants to know.

        Raises:
            SpringtideError: If broker, server or files do not answer, or a place cannot be searched.
        """
        deadline = Deadline.after(timeout_s)
        with contextlib.ExitStack() as stack:
            client = None
            if self._addresses is not None:
                client = stack.enter_context(Client(*self._addresses, self._credentials))
            if publishes:
                partition, offset = publish_deletion(self._settings, self._node_type, self._token.text)
                self._say(f"the deletion is published: offset {offset} of partition {partition}")
                num_entries = ModelStore(self._settings.model.url).forget_text(self._token)
                if num_entries:
                    self._say(f"taken out of the reasons of {num_entries:,} entries of the audit log")
                num_files = SteeringStore.of(self._settings).forget(self._token)
                if num_files:
                    self._say(f"taken out of {num_files:,} files of rules, scenarios and experiments")
                if client is not None:
                    await_applied(client, partition, offset, deadline)
                    self._say("the server has applied it: gone from all answers")
                if not verifies:
                    self._say("it is in the next checkpoint and then in the models; --verify waits and proves it")
                    return True
                try:
                    name = await_checkpoint(self._settings, partition, offset, deadline)
                    self._say(f"checkpoint {name} holds it, and no earlier one is left")
                except SpringtideError as error:
                    self._say(str(error))  # The search says what that means.
            if not verifies:
                return True
            proof = prove(
                *(self._settings, self._node_type, self._token, client, deadline, self._say),
                reads_topics=reads_topics,
            )
        self._print(proof)
        return proof.is_gone

    def _say(self, words: str) -> None:
        self._out.print(escape(words), soft_wrap=True)

    def _print(self, proof: Proof) -> None:
        table = Table("place", "searched", "bytes", "", "where", box=None, pad_edge=False)
        for each in proof.places:
            more = f" and {each.num_found - len(each.found):,} more" if each.num_found > len(each.found) else ""
            where = Text(", ".join(each.found) + more if each.found else each.place.url, overflow="fold")
            files = f"{each.num_files:,} file{'' if each.num_files == 1 else 's'}"
            table.add_row(each.place.name, files, f"{each.num_bytes:,}", _FOUND if each.num_found else _GONE, where)
        for answer in proof.answers:
            found = _FOUND if answer.fault else _GONE
            table.add_row("answers", "1 answer", f"{answer.num_bytes:,}", found, Text(f"{answer.name} {answer.fault}"))
        for log in proof.logs:
            stays = f"[yellow]{log.num_found:,} records[/]" if log.num_found else _GONE
            records = f"{log.num_records:,} records"
            table.add_row("Kafka topic", records, f"{log.num_bytes:,}", stays, Text(log.state.name))
        self._out.print(table)
        for log in proof.logs:
            if log.num_found:
                self._print_log(log)
        what = f"{self._node_type} {self._token.text!r}"
        if proof.is_gone:
            self._say(f"{what} was found in nothing that Springtide keeps. A digest of the id stays in checkpoints.")
        else:
            self._say(f"{what} was found; a training that began before the deletion may still publish it.")

    def _print_log(self, log: Log) -> None:
        """Say what stays in a topic, and which setting removes it."""
        name, servers = log.state.name, self._settings.kafka.bootstrap_servers
        policy = (log.state.config or {}).get("cleanup.policy", "unknown")
        retention_ms = log.retention_ms
        if log.state.number("retention.ms") is None:
            until = "the broker says no retention.ms (the embedded one forgets all of it when it stops)"
        elif retention_ms is None:
            until = "retention.ms=-1: they stay for ever"
        else:
            until = (
                f"retention.ms={retention_ms} ({retention_ms / MS_PER_DAY:g} days) removes them, the last one after "
                f"{_when(log.newest_ms + retention_ms)}"
            )
        last = ", ".join(
            f'{{"topic": "{name}", "partition": {number}, "offset": {offset + 1}}}'
            for number, offset in sorted(log.last_offsets.items())
        )
        self._say(f"\n{name} still has {log.num_found:,} records with the id; only the broker removes them:")
        self._say(f"  cleanup.policy={policy}; {until}")
        self._say(
            f"  sooner, for all: kafka-configs.sh --bootstrap-server {servers} --alter --entity-type topics "
            f"--entity-name {name} --add-config cleanup.policy=delete,retention.ms=86400000"
        )
        self._say(
            f"  at once, with everything before them: kafka-delete-records.sh --bootstrap-server {servers} "
            f'--offset-json-file with {{"version": 1, "partitions": [{last}]}}'
        )
        self._say(
            "  cleanup.policy=compact,delete keeps the latest record of each key, here the deletion, until retention.ms"
            " is over. It takes earlier events of everybody else too, and records without a key are refused."
        )


def _when(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / MS_PER_SECOND, UTC).strftime("%Y-%m-%d %H:%M UTC")
