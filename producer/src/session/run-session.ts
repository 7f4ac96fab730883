/** The trail's own session, `trail:<runId>`: its events open and close the run, and explain its gaps. */
import { hostname } from 'node:os'
import { NEWEST_SCHEMA } from '@agent-audit/schemas'
import type { DrainResult } from '../api/audit-trail.ts'
import type { TrailContext } from '../context/trail-context.ts'
import { Causes } from '../record/causes.ts'
import type { LostRange } from '../recorder/lost-events.ts'
import type { ResolvedOptions } from '../options/options.ts'
import { describeRules } from '../redaction/rules.ts'
import { Session } from './session.ts'

/** That of package.json, which a bundled agent does not have; a test compares the two. */
const PRODUCER_VERSION = '0.1.0'

export class RunSession {
  readonly #session: Session

  constructor(trail: TrailContext, agentId: string) {
    const none = { agent_version: null, model_id: null, user_id: null, system_prompt_hash: null }
    this.#session = new Session(trail, {
      stamps: { session_id: `trail:${trail.runId}`, agent_id: agentId, ...none },
      causes: new Causes(),
      startChild: () => {
        throw new Error('the session of the trail has no children')
      },
    })
  }

  /** The first record of the run. */
  started(options: ResolvedOptions): void {
    const content = {
      versions: { producer: PRODUCER_VERSION, schema: NEWEST_SCHEMA.version, node: process.versions.node },
      host: hostname(),
      pid: process.pid,
      options: withoutSecrets(options),
    }
    this.#session.recordChecked('trail_started', { content }, { always: true })
  }

  /** Explains gaps in run_seq, of this run or of a dead one: one event a range. */
  lost(ranges: readonly LostRange[]): void {
    for (const range of ranges) {
      const { first, last, reason, spool } = range
      const count = first === null || last === null ? null : last - first + 1
      const of = spool === undefined ? {} : { run_id: spool.runId, set_aside: spool.file }
      const content = { first_run_seq: first, last_run_seq: last, count, ...of }
      this.#session.recordChecked('events_lost', { reason, content }, { always: true, explains: range })
    }
  }

  /** The last record of the run. */
  stopped(counts: DrainResult & { recorded: number }): void {
    this.#session.recordChecked('trail_stopped', { content: { ...counts } }, { always: true })
  }
}

/** The options that shape the records, and their destination; no password, key, prompt or function. */
function withoutSecrets(options: ResolvedOptions): Record<string, unknown> {
  const { destination, systemPrompt, schemaRegistry, redact, traceContext, onProblem, claimApproval, ...others } =
    options
  const { signing, encryption, approvalSigner, approvalTrust, ...plain } = others
  return {
    ...plain,
    // Undefined fields are left out: a trail without keys records what it did before there were any.
    signing: signing?.keyName,
    encryption: encryption === undefined ? undefined : { fields: encryption.fields },
    approvalSigner: approvalSigner?.vkey,
    approvalTrust: approvalTrust?.file,
    systemPrompt: systemPrompt !== undefined,
    redact: describeRules(redact),
    traceContext: traceContext !== undefined,
    onProblem: onProblem !== undefined,
    claimApproval: claimApproval !== undefined,
    schemaRegistry: schemaRegistry !== undefined,
    destination:
      destination.kind === 'kafka'
        ? {
            kind: 'kafka',
            brokers: destination.brokers,
            ssl: destination.ssl !== false,
            sasl: destination.sasl?.mechanism ?? null,
          }
        : destination,
  }
}
