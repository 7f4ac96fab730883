/** `agent-audit notary`: keeps the log of all seals of a topic, and signs its checkpoints. */
import { readFileSync } from 'node:fs'
import type * as NotaryPackage from '@agent-audit/notary'
import type { S3Sink } from '@agent-audit/notary'
import type { Source } from '@agent-audit/kafka'
import { type Analytics, checkGrants } from '@agent-audit/analytics'
import { DEFAULT_TOPIC, InvalidInputError, SEALS_SUFFIX } from '@agent-audit/schemas'
import type { KeySigner, Trust, VerifierKey } from '@agent-audit/seals'
import type { Command } from 'commander'
import { collect, parseCount } from '../arguments.ts'
import { connectable, type ConnectionOptions, withTrail } from '../connect.ts'
import { KAFKA_HELP, kafkaOf } from '../kafka-connection.ts'
import { serveMetrics } from '../metrics-server.ts'
import { NotaryReport } from '../notary-report.ts'
import { printable } from '../render/text.ts'
import { openS3, S3_HELP } from '../s3-sink.ts'
import type { Terminal } from '../terminal.ts'

interface Options extends ConnectionOptions {
  readonly brokers?: string
  readonly topic: string
  readonly key?: string
  readonly origin?: string
  readonly trust?: string
  readonly root?: string
  readonly file?: string[]
  readonly stdout?: boolean
  readonly s3?: string[]
  readonly s3RetentionDays?: number
  readonly tiles?: string
  readonly witness?: string[]
  readonly witnessKey?: string[]
  readonly metricsPort?: number
  readonly metricsHost: string
}

const AFTER_HELP = `
The user is of the role notary: CLICKHOUSE_USER=audit_notary. The key, if --key is not given: AUDIT_SIGNING_KEY_FILE or
AUDIT_SIGNING_KEY. ${KAFKA_HELP}
${S3_HELP}

Sinks are where checkpoints are out of the reach of the database's admin. At the start the log is compared with what they have: one
that was changed or rolled back is not signed (exit 1). A sink that is away gets the newest checkpoint when it is back.
One notary keeps a log; a second one is refused (exit 1). It runs until it is stopped. docs/integrity.md has the formats.`

const SESSION_MS = 10_000
const MEMORY_BYTES = 16 * 2 ** 20

export function addNotary(program: Command, terminal: Terminal): void {
  const command = program
    .command('notary')
    .description('keep the log of all seals of a topic, and sign its checkpoints for the sinks')
    .option('--topic <name>', 'topic of the events; its seals are in <name>.seals', DEFAULT_TOPIC)
    .option('--brokers <list>', 'Kafka, host:port separated by commas (default: KAFKA_BROKERS)')
    .option('--key <file>', 'the private key, as `agent-audit keys generate --role notary` makes it')
    .option(
      '--origin <name>',
      'name of the log in its checkpoints (default: that of the trust file, else agent-audit/<id>)',
    )
    .option('--trust <file>', 'trust file: keys of other notaries of this log, origin, witnesses')
    .option('--root <vkey>', 'the root key that must have signed the trust file')
    .option('--file <path>', 'sink: append checkpoints to this file, best of another user (repeatable)', collect)
    .option('--stdout', 'sink: a line for each checkpoint on standard output')
    .option(
      '--s3 <url>',
      'sink: an object for each checkpoint in this bucket with Object Lock, as s3://BUCKET/PREFIX (repeatable)',
      collect,
    )
    .option(
      '--s3-retention-days <n>',
      'how long no one can remove such an object, its owner included; cannot be taken back',
      parseCount(1, 36_500),
    )
    .option('--tiles <dir>', 'sink: the log as tiles of C2SP, for other tools, in this folder')
    .option('--witness <url>', 'sink: a C2SP witness, by add-checkpoint below this URL (repeatable)', collect)
    .option('--witness-key <vkey>', 'a key of the witnesses (default: those of the trust file; repeatable)', collect)
    .option('--metrics-port <n>', 'serve /metrics, /readyz and /healthz on this port', parseCount(0, 65_535))
    .option('--metrics-host <address>', 'the address of that port; 0.0.0.0 in a container', '127.0.0.1')
    .addHelpText('after', AFTER_HELP)
  connectable(command).action((options: Options) => run(options, terminal))
}

async function run(options: Options, terminal: Terminal): Promise<void> {
  const notary = await import('@agent-audit/notary')
  const { signer, otherKeys, origin, witnessKeys } = await readKeys(options, terminal)
  const buckets = await openBuckets(options, terminal)
  const { interrupted } = terminal
  if (interrupted === undefined) throw new InvalidInputError('OPTIONS_INVALID', 'notary: it needs a process to run in')
  const say = (line: string): void => terminal.err(`agent-audit: ${line}\n`)
  if (!hasSink(options)) say('no sink: an admin of the database could change seals and checkpoints alike')
  const report = new NotaryReport(say)
  using server =
    options.metricsPort === undefined
      ? undefined
      : await serveMetrics(() => report.text(), {
          port: options.metricsPort,
          host: options.metricsHost,
          faults: () => report.faults(),
        })
  if (server !== undefined) say(`metrics at ${server.url}/metrics`)
  const stop = interrupted()
  const work = async (analytics: Analytics, logDir: string | undefined): Promise<void> => {
    await checkGrants(analytics, 'notary')
    const topic = options.topic + SEALS_SUFFIX
    const groupId = `audit-notary.${topic}`
    const source = await createSource(options, terminal, { logDir, topic, groupId })
    try {
      const sinks = sinksOf(notary, options, { terminal, witnessKeys, buckets, say })
      const { observer } = report
      say(`signing as ${printable(signer.vkey)}`)
      await new notary.Notary({
        source,
        groupId,
        analytics,
        signer,
        otherKeys,
        origin,
        createSinks: sinks,
        observer,
      }).run(stop)
    } finally {
      await source.close()
    }
  }
  await withTrail(options, terminal, work, 'notary')
}

interface Keys {
  readonly signer: KeySigner
  readonly otherKeys: readonly VerifierKey[]
  readonly witnessKeys: readonly VerifierKey[]
  readonly origin: string | undefined
}

async function readKeys(options: Options, terminal: Terminal): Promise<Keys> {
  const seals = await import('@agent-audit/seals')
  const signer =
    options.key === undefined
      ? seals.keyFromEnvironment(terminal.env, 'AUDIT_SIGNING_KEY')
      : seals.openKeyFile(options.key)
  if (signer === undefined) {
    throw new InvalidInputError('OPTIONS_INVALID', 'notary: expected a key in --key or AUDIT_SIGNING_KEY_FILE')
  }
  const root = options.root === undefined ? undefined : seals.VerifierKey.parse(options.root)
  const trust: Trust =
    options.trust === undefined ? seals.EMPTY_TRUST : seals.openTrust(readFileSync(options.trust, 'utf8'), root)
  const given = options.witnessKey?.map((vkey) => seals.VerifierKey.parse(vkey))
  const witnessKeys = given ?? trust.witnesses
  if (options.witness !== undefined && witnessKeys.length === 0) {
    throw new InvalidInputError('OPTIONS_INVALID', '--witness: expected its key in --witness-key or the trust file')
  }
  const others = seals.keysOfRole(trust, 'notary').filter(({ vkey }) => vkey !== signer.vkey)
  return { signer, otherKeys: others, witnessKeys, origin: options.origin ?? trust.origin }
}

function hasSink({ file, stdout, s3, witness }: Options): boolean {
  return file !== undefined || stdout === true || s3 !== undefined || witness !== undefined
}

/** One for the process: a bucket that was fit at the start is away, not wrong, when it answers otherwise later. */
function openBuckets({ s3 = [], s3RetentionDays: retentionDays }: Options, { env }: Terminal): Promise<S3Sink[]> {
  if (s3.length > 0 && retentionDays === undefined) {
    throw new InvalidInputError('OPTIONS_INVALID', '--s3: expected --s3-retention-days beside it, such as 3650')
  }
  return Promise.all(s3.map((url) => openS3(url, env, { retentionDays })))
}

interface SinkParts {
  readonly terminal: Terminal
  readonly witnessKeys: readonly VerifierKey[]
  readonly buckets: readonly S3Sink[]
  readonly say: (line: string) => void
}

function sinksOf(
  notary: typeof NotaryPackage,
  { file = [], stdout, tiles, witness = [] }: Options,
  { terminal, witnessKeys, buckets, say }: SinkParts,
): NotaryPackage.NotaryOptions['createSinks'] {
  for (const url of witness) {
    if (!/^https?:\/\/./.test(url) || !URL.canParse(url)) {
      throw new InvalidInputError('OPTIONS_INVALID', `--witness ${printable(url)}: expected an http or https URL`)
    }
  }
  return (log) => [
    ...file.map((path) => {
      const onTorn = (lines: number, first: number): void =>
        say(
          `${printable(path)}: ${lines} lines, the first one line ${first}, are no whole checkpoint and count for nothing`,
        )
      return new notary.FileSink({ path, onTorn })
    }),
    ...(stdout === true ? [new notary.OutputSink(terminal.out)] : []),
    ...buckets,
    ...(tiles === undefined ? [] : [new notary.TilesSink({ folder: tiles, ...log })]),
    ...witness.map((url) => new notary.WitnessSink({ url, keys: witnessKeys, tree: log.tree })),
  ]
}

async function createSource(
  options: Options,
  terminal: Terminal,
  log: { readonly logDir: string | undefined; readonly topic: string; readonly groupId: string },
): Promise<Source> {
  const { BATCH_DECODERS, BufferMemory, createEmbeddedSource } = await import('@agent-audit/consumer/pipeline')
  const group = { topics: [log.topic], groupId: log.groupId, sessionTimeoutMs: SESSION_MS }
  if (log.logDir !== undefined) return createEmbeddedSource({ ...group, directory: log.logDir })
  const kafka = kafkaOf(options.brokers, terminal.env)
  if (kafka === undefined) {
    const message = 'notary: expected brokers in --brokers or KAFKA_BROKERS, or for an embedded trail --data-dir'
    throw new InvalidInputError('OPTIONS_INVALID', message)
  }
  const { createKafkaSource } = await import('@agent-audit/kafka/source')
  const memory = new BufferMemory(MEMORY_BYTES)
  return createKafkaSource({ ...kafka, ...group, memory, decoders: BATCH_DECODERS })
}
