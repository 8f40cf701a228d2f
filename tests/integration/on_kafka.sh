#!/usr/bin/env bash
# Run a command on a real Apache Kafka: on_kafka.sh NUM_BROKERS COMMAND...
#
# The Kafka is the one that KAFKA_BOOTSTRAP_SERVERS names. If it is unset, the program KAFKA_START starts one, and it is
# stopped at the end, whatever happens. Without either, the command is not run, which is said and is no failure.
# The contract of KAFKA_START is in tests/README.md.
set -euo pipefail

if (($# < 2)) || [[ ! $1 =~ ^[0-9]+$ ]]; then
    echo "usage: $0 NUM_BROKERS COMMAND..." >&2
    exit 2
fi
num_brokers=$1
shift

if [[ -n ${KAFKA_BOOTSTRAP_SERVERS:-} ]]; then
    exec "$@"
fi
if [[ -z ${KAFKA_START:-} ]]; then
    echo "skipped: no Kafka here: set KAFKA_BOOTSTRAP_SERVERS, or KAFKA_START to a program that starts one"
    exit 0
fi

folder=$(mktemp -d)
end() {
    if [[ -d $folder/kafka ]]; then
        "$(dirname "$KAFKA_START")/stop" "$folder/kafka" --kill || true
    fi
    rm -rf "$folder"
}
trap end EXIT
# bash runs these after the command has ended, and then the one above.
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# With access rules, so that tests can take rights away; whoever comes in by plaintext may do everything.
"$KAFKA_START" --dir "$folder/kafka" --brokers "$num_brokers" \
    --set authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer \
    --set super.users=User:ANONYMOUS >"$folder/variables"
# shellcheck disable=SC1091
source "$folder/variables"

# The example client in Java is tested with the Java client that came with this Kafka.
KAFKA_JARS=${KAFKA_JARS:-$(dirname "$KAFKA_START")/jars}
export KAFKA_JARS

code=0
"$@" || code=$?
exit "$code"
