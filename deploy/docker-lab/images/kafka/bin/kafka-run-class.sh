#!/bin/bash
# Runs a class of Kafka: kafka-run-class.sh CLASS ARGUMENT…
level=${KAFKA_LOG_LEVEL:-warn}
# shellcheck disable=SC2086 # The options are several words.
exec java ${KAFKA_HEAP_OPTS:--Xmx256m} ${KAFKA_OPTS:-} -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xshare:auto \
  -Dorg.slf4j.simpleLogger.defaultLogLevel="$level" -cp '/opt/kafka/libs/*' "$@"
