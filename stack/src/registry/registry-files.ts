/** The schema registry Apicurio from Maven Central, fetched once into the checkout's cache: a Java program. */
import type { Availability } from '@agent-audit/embedded/internal'
import { javaAvailability } from '../processes/java.ts'
import { cached, fetchByMaven } from '../processes/maven.ts'

const VERSION = '3.0.9'
/** Folder of the program: there and whole, or not there. */
const FILES = cached(`apicurio-registry-${VERSION}`)

/** Name of the program in its folder. */
export const REGISTRY_JAR: string = `apicurio-registry-app-${VERSION}-runner.jar`

/** Whether a registry can run here without Docker: by Java, and the program or Maven, to fetch it. */
export function registryFilesAvailability(): Availability {
  const instead = 'start Docker, or set SCHEMA_REGISTRY_URL'
  return javaAvailability({ server: 'A local schema registry', part: 'it', files: FILES, instead })
}

/** Fetches the program unless it is there. @returns Its folder. */
export function fetchRegistry(): Promise<string> {
  const artifact = `io.apicurio:apicurio-registry-app:${VERSION}:zip:all`
  return fetchByMaven({
    target: FILES,
    argsInto: (folder) => ['dependency:unpack', `-Dartifact=${artifact}`, `-DoutputDirectory=${folder}`],
    failure: 'The schema registry could not be fetched by Maven; set SCHEMA_REGISTRY_URL to use a running one.',
  })
}
