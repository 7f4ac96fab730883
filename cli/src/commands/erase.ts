/**
 * `agent-audit erase`: destroys the data key of a subject. The trail gets one event before, and one after: an erasure that a kill has
 * cut short is on record, and is ended by the same command.
 */
import { hostname, userInfo } from 'node:os'
import type { FileKeyStore, Subject } from '@agent-audit/erasure'
import { InvalidInputError } from '@agent-audit/schemas'
import type { KeySigner, SignedErasure } from '@agent-audit/seals'
import { type Command } from 'commander'
import { KAFKA_HELP } from '../kafka-connection.ts'
import { openKeys, withKeys } from '../key-store.ts'
import { destinationOf, withRecorder } from '../record-event.ts'
import { asJson } from '../render/text.ts'
import { EXIT, type Terminal } from '../terminal.ts'

interface Options {
  readonly subject?: string
  readonly session?: string
  readonly reason: string
  readonly by: string
  readonly identitySource?: string
  readonly key?: string
  readonly keys?: string
  readonly kek?: string
  readonly admitAgain?: boolean
  readonly brokers?: string
  readonly topic?: string
  readonly json?: boolean
}

/** agent_id of the events. */
const ERASING_AGENT = 'agent-audit'
/** A shorter subject may stand in any text by chance. */
const SHORTEST_NAME = 3

const HELP = `
After it, nothing that was encrypted for the subject can be read any more: not in the trail, not in exports, not in Kafka. Seals and
digests stay valid. It does not reach fields that were not encrypted, backups of the key folder together with its key-encryption key,
and clear text that was copied before. Running agents stop using the key within a second; what they record for the subject later is
left out, until --admit-again.

Recorded as the events subject.erasing and subject.erased of the trail: with --reason and --by, without the subject's name. With
--key, AUDIT_ERASER_KEY_FILE or AUDIT_ERASER_KEY an eraser's key signs them, for \`agent-audit verify\`.
${KAFKA_HELP}`

export function addErase(program: Command, terminal: Terminal, exit: (code: number) => void): void {
  const command = program
    .command('erase')
    .description('make the encrypted fields of a person or session unreadable: destroy the data key')
    .option('--subject <id>', 'the person: the user_id of the events, or what encryption.subject gives')
    .option('--session <id>', 'a session without a person')
    .requiredOption('--reason <text>', 'why; it stays in the trail, so it must not name the person')
    .requiredOption('--by <person>', 'the person who erases')
    .option('--identity-source <text>', 'where that person was authenticated (default: the user of this machine)')
    .option('--key <file>', 'the private key that signs, of `agent-audit keys generate --role eraser`')
    .option('--admit-again', 'instead: let a subject that was erased have a new key from now on')
    .option('--brokers <list>', 'Kafka, host:port separated by commas (default: KAFKA_BROKERS)')
    .option('--topic <name>', 'topic of the events (default: audit.events)')
    .option('--json', 'one JSON object')
    .addHelpText('after', HELP)
  withKeys(command).action((options: Options) => erase(options, terminal, exit))
}

async function erase(options: Options, terminal: Terminal, exit: (code: number) => void): Promise<void> {
  const subject = subjectOf(options)
  const store = await openKeys(options, terminal.env)
  if (store === undefined) throw new InvalidInputError('OPTIONS_INVALID', 'erase: which key store? Give --keys DIR')
  const keyId = store.idOf(subject)
  if (options.admitAgain === true ? !store.isErased(keyId) : store.find(keyId) === undefined) {
    const what = options.admitAgain === true ? 'was not erased' : 'has no key here: nothing was encrypted for it'
    terminal.err(`agent-audit: nothing done: the subject (key ${keyId}) ${what}. Is its name written right?\n`)
    return exit(EXIT.finding)
  }
  const destination = destinationOf(options, terminal, { command: 'erase' })
  const sign = await signerOf(options, terminal)
  // What is signed is recorded as it is.
  const recording = { ...destination, agentId: ERASING_AGENT, redact: 'off' } as const
  const answer = await withRecorder(recording, (record, runId) => {
    const { by, reason, identitySource = userOfMachine() } = options
    const work = {
      store,
      subject,
      record: (act: SignedErasure['act'], more: object = {}) => {
        const about = { key_id: store.idOf(subject), subject_kind: subject.kind, identity_source: identitySource }
        const signature = sign?.({ act, runId, reason, by, about })
        const content = { ...about, ...more, signature }
        return record({ event_type: `subject.${act}`, approver_id: by, reason, content })
      },
    }
    return options.admitAgain === true ? admit(work) : destroy(work)
  })
  if (options.json === true) return terminal.out(`${asJson(answer)}\n`)
  terminal.out(`${answer.done.replaceAll('_', ' ')}: key ${answer.key_id}, recorded as event ${answer.event_id}\n`)
}

type Sign = (of: {
  readonly act: SignedErasure['act']
  readonly runId: string
  readonly reason: string
  readonly by: string
  readonly about: { readonly key_id: string; readonly subject_kind: Subject['kind']; readonly identity_source: string }
}) => string

/** Undefined: no key signs. The key is read before anything is done. */
async function signerOf({ key }: Options, { env }: Terminal): Promise<Sign | undefined> {
  const seals = await import('@agent-audit/seals')
  const signer: KeySigner | undefined =
    key === undefined ? seals.keyFromEnvironment(env, 'AUDIT_ERASER_KEY') : seals.openKeyFile(key)
  if (signer === undefined) return undefined
  return ({ act, runId, reason, by, about }) =>
    signer.sign(
      seals.formatErasure({
        act,
        keyId: about.key_id,
        subjectKind: about.subject_kind,
        by,
        identitySource: about.identity_source,
        reasonSha256: seals.reasonDigest(reason),
        runId,
        time: Date.now(),
      }),
    )
}

/** What this process knows of its user. */
function userOfMachine(): string {
  return `os:${userInfo().username}@${hostname()}`
}

interface Work {
  readonly store: FileKeyStore
  readonly subject: Subject
  readonly record: (act: SignedErasure['act'], more?: object) => Promise<string>
}

interface Answer {
  readonly done: string
  readonly key_id: string
  readonly event_id: string
}

/** Ends as well what an earlier call has begun: the event of the end may be missing. */
async function destroy({ store, subject, record }: Work): Promise<Answer> {
  const begun = await record('erasing')
  const { keyId, done } = store.erase(subject)
  return { done, key_id: keyId, event_id: await record('erased', { erasing: begun, again: done === 'was_erased' }) }
}

async function admit({ store, subject, record }: Work): Promise<Answer> {
  const event_id = await record('admitted')
  store.admitAgain(subject)
  return { done: 'admitted_again', key_id: store.idOf(subject), event_id }
}

function subjectOf({ subject, session, reason }: Options): Subject {
  const id = subject ?? session ?? ''
  if (id === '' || (subject !== undefined && session !== undefined)) {
    throw new InvalidInputError('OPTIONS_INVALID', 'erase: expected either --subject or --session')
  }
  if (id.length >= SHORTEST_NAME && reason.toLowerCase().includes(id.toLowerCase())) {
    const message = 'erase: --reason has the name of the subject in it, and would keep it in the trail'
    throw new InvalidInputError('OPTIONS_INVALID', message)
  }
  return { kind: subject === undefined ? 'session' : 'user', id }
}
