/** Kafka's jars from Maven Central, fetched once into the checkout's cache. */
import { fileURLToPath } from 'node:url'
import type { Availability } from '@agent-audit/embedded/internal'
import { javaAvailability } from '../processes/java.ts'
import { cached, fetchByMaven } from '../processes/maven.ts'

/** The same as in kafka/pom.xml; a test compares the two. */
export const KAFKA_VERSION = '4.3.1'

const POM: string = fileURLToPath(new URL('../../kafka/pom.xml', import.meta.url))
/** Folder of the jars: there and whole, or not there. */
export const KAFKA_LIBS: string = cached(`kafka-${KAFKA_VERSION}`)

/** Whether a Kafka can run here from the jars: by Java, and the jars or Maven, to fetch them. */
export function kafkaJarsAvailability(): Availability {
  const instead = 'start Docker, or set KAFKA_BROKERS'
  return javaAvailability({ server: 'A local Kafka', part: "Kafka's jars", files: KAFKA_LIBS, instead })
}

/** Fetches the jars unless they are there. */
export function fetchKafkaJars(): Promise<string> {
  return fetchByMaven({
    target: KAFKA_LIBS,
    argsInto: (draft) => ['-f', POM, 'dependency:copy-dependencies', `-DoutputDirectory=${draft}`],
    failure: "Kafka's jars could not be fetched by Maven; set KAFKA_BROKERS to use a running Kafka.",
  })
}
