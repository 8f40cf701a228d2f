"""The `status` command: what is shown of a server's status."""

from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console
from rich.table import Table

from springtide.v1 import admin_pb2 as pb
from springtide.v1 import recommender_pb2
from springtide_services.cli.status_tables import drop_sentence, quality_table, status_table

QUALITY = pb.LiveQuality(
    recent=pb.WindowQuality(
        model_version="000002",
        all=pb.RankingQuality(num_questions=1_000, ndcg_at_20=0.25, hit_rate_at_20=0.5, mrr=0.125),
        new_to_user=pb.RankingQuality(num_questions=400, ndcg_at_20=0.0625),
    ),
    versions=[
        pb.WindowQuality(model_version="000002", all=pb.RankingQuality(num_questions=3, ndcg_at_20=1.0)),
        pb.WindowQuality(all=pb.RankingQuality()),
    ],
)


def lines(table: Table) -> list[str]:
    console = Console(width=160, color_system=None)
    with console.capture() as capture:
        console.print(table)
    return [" ".join(line.split()) for line in capture.get().splitlines()]


def test_a_window_is_shown_with_its_figures_and_a_version_without_questions_with_none() -> None:
    _, heading, *rows = lines(quality_table(QUALITY))
    assert heading == "events NDCG@20 hits@20 MRR unseen items NDCG@20"
    assert rows == [
        "the latest 1,000 0.2500 0.5000 0.1250 400 0.0625",
        "000002 3 1.0000 0.0000 0.0000 0",
        "fallback 0",
    ]


def test_a_drop_is_shown_with_the_training_that_it_requested() -> None:
    drop = pb.QualityDrop(model_version="000002", first_ndcg_at_20=0.25, ndcg_at_20=0.125)
    assert drop_sentence(drop) == "000002 fell from NDCG@20 0.2500 to 0.1250; a training is about to be requested"
    drop.request_id = "abc"
    assert drop_sentence(drop).endswith("; training abc is requested")


def test_status_of_a_server_that_has_nothing_yet() -> None:
    assert lines(status_table(pb.GetStatusResponse(lag_events=-1))) == [
        "serves none (the fallback ranks)",
        "stream not read yet",
        "nodes none",
        "edges none",
        "dead letters none",
    ]


def test_a_lag_that_is_not_known_names_the_partitions_that_do_not_answer() -> None:
    status = pb.GetStatusResponse(is_broker_connected=True, lag_events=-1, lag_age_s=12.3)

    def words() -> str:
        return lines(status_table(status))[1]

    assert words() == "stream unknown how many events behind, for 12 s"
    status.silent_partitions[:] = [2]
    assert words() == "stream unknown how many events behind, for 12 s: partition 2 does not answer"
    status.silent_partitions[:] = range(300)
    assert words().endswith(": partitions 0, 1, 2, 3, 4, 5, 6, 7 and 292 more do not answer")


def test_status_of_a_server_at_work() -> None:
    status = pb.GetStatusResponse(
        model_version="000002",
        is_broker_connected=True,
        lag_events=1_200,
        num_nodes={"user": 5, "item": 7_000},
        num_edges={"user:purchase:item": 9},
        num_dead_letters={"empty_id": 2},
        num_duplicates=1_200,
        num_changed_duplicates=3,
        rebuild_reasons=["interactions.click is new"],
        checkpoint_time=Timestamp(seconds=1_700_000_000),
        training=pb.TrainingStatus(stage="learn", done=5, total=120),
        as_of_ms=893_286_638_000,
        as_of_source=recommender_pb2.MOMENT_SOURCE_STREAM,
        parts_with_torch=["encoder 'own' of shop 1.0"],
        resident_bytes=300 * 2**20,
        graph_bytes=20 * 2**20,
        memory_limit_bytes=2**30,
        num_open_calls=1,
        calls=[
            pb.MethodCalls(method="springtide.v1.AdminService/GetStatus", num_last_minute=1, p50_ms=2.1, p99_ms=2.1),
            pb.MethodCalls(method="springtide.v1.AdminService/ListModels", num_ended={"OK": 7}),
            pb.MethodCalls(
                method="springtide.v1.RecommenderService/Recommend", num_last_minute=1_200, p50_ms=0.312, p99_ms=4.5
            ),
        ],
    )
    assert lines(status_table(status)) == [
        "serves 000002",
        "PyTorch loaded for encoder 'own' of shop 1.0, which has no serving half",
        "stream 1,200 events behind",
        "answers as of 1998-04-22 23:10 UTC, the stream's time, unless a request names another moment",
        "nodes 7,000 item, 5 user",
        "edges 9 user:purchase:item",
        "memory 300 MiB, 20 MiB of it the graph; 1,024 MiB may be taken",
        "calls in the last minute 1,200 Recommend (0.312 ms, p99 4.5), 1 GetStatus (2.1 ms, p99 2.1); 1 open",
        "dead letters 2 empty_id",
        "duplicates 1,200 ignored; 3 of them were not what had come before under their ids",
        "to rebuild interactions.click is new (`springtide rebuild` reads the events again)",
        "checkpoint 2023-11-14 22:13:20 UTC",
        "training learn 5/120",
    ]


def test_status_says_since_when_and_why_the_stream_does_not_go_on() -> None:
    since = Timestamp(seconds=1_700_000_000)
    problem = pb.StreamProblem(kind="offsets_lost", message="the topic was recreated", since=since, is_final=True)
    gap = pb.StreamGap(
        topic="events", partition=3, from_offset=243, to_offset=400, reason="retention", found_time=since
    )
    status = pb.GetStatusResponse(
        lag_events=-1,
        stream_problem=problem,
        stream_gaps=[gap],
        num_dead_letters={"empty_id": 2},
        num_dead_letters_not_written=1,
    )
    shown = lines(status_table(status))
    assert shown[1] == "stream stopped since 2023-11-14 22:13:20 UTC: the topic was recreated"
    assert shown[2] == (
        "skipped events of events, partition 3, from offset 243 on (retention); read on at 400, 2023-11-14 22:13:20 UTC"
    )
    assert "dead letters 2 empty_id; 1 of them are not in the dead-letter topic" in shown
    problem.is_final = False
    assert "waiting since" in lines(status_table(pb.GetStatusResponse(stream_problem=problem)))[1]


def test_status_says_what_has_become_of_the_index() -> None:
    status = pb.GetStatusResponse()
    assert not any(line.startswith("index") for line in lines(status_table(status)))
    status.index.CopyFrom(
        pb.IndexStatus(
            name="usearch",
            state="used",
            num_items=1_000_000,
            num_bytes=330 * 2**20,
            recall_at_20=0.995,
            num_users=100,
            index_ms=0.31,
            exact_ms=4.8,
            num_proven=3,
            num_by_index=1_200,
            num_exact=4,
            num_failed=1,
        )
    )

    def words() -> str:
        return next(line for line in lines(status_table(status)) if line.startswith("index"))

    assert lines(status_table(status))[1:3] == [
        "index usearch: 1,000,000 items, 330 MiB, recall 0.995 of 100 users' 20 best, 0.31 ms beside 4.80 ms of exact "
        "answers",
        "answers 1,200 by the index, 3 proved to be exact without it, 4 exact in its place (1 of them since the index "
        "failed)",
    ]
    status.index.state = "refused"
    assert words() == (
        "index usearch: not used, recall 0.995 of 100 users' 20 best, which ranking.index_min_recall does not allow"
    )
    status.index.state, status.index.failure = "failed", "the disk is gone"
    assert words() == "index usearch: not used, it failed (the disk is gone)"
    status.index.state = "building"
    assert words() == "index usearch: building"


def test_health_of_the_stream_stands_before_its_lag() -> None:
    status = pb.GetStatusResponse(is_broker_connected=True, lag_events=12, stream_health="catching_up")
    assert "stream catching up, 12 events behind" in lines(status_table(status))


def test_parts_that_fail_and_packages_that_are_not_loaded_are_shown() -> None:
    status = pb.GetStatusResponse(
        plugins=[pb.Plugin(name="windy", distribution="windy", version="1.0", way="plugins.allow")],
        packages_not_allowed=[pb.PackageNotAllowed(distribution="other", version="2.0", modules=["other"])],
        failing_parts=[
            pb.FailingPart(
                part="context weight 'wind'",
                origin="windy 1.0",
                hook="bucket",
                fault="raised",
                reason="no wind",
                num_failed=2,
                latest_time=Timestamp(seconds=1_700_000_000),
            )
        ],
        num_bypassed={"context weight 'wind'": 2},
    )
    shown = " ".join(lines(status_table(status)))
    assert "plugin windy of windy 1.0 (plugins.allow)" in shown
    assert "fails context weight 'wind' of windy 1.0 failed in bucket, 2 times, the last time 2023-11-14" in shown
    assert "left out calls that were done without: 2 of context weight 'wind'" in shown
    assert "not loaded other 2.0 offers plugins, and plugins.allow does not name it" in shown
