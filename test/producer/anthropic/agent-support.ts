/** Shared by the tests of runAuditedAgent: an agent with a scripted model and tools, and an outline of its rows. */
import { type AgentTool, type AuditedAgentOptions, runAuditedAgent } from '@agent-audit/producer/anthropic'
import type { AuditTrail } from '@agent-audit/producer'
import { type Answer, type ScriptedModel, scriptModel } from './messages-server.ts'
import { openTrail, type Row, sessionRows } from '../support.ts'
import { makeTempDirectory } from '../../support/temp-directory.ts'

export const schema = { type: 'object', properties: { q: { type: 'string' } } } as const

export function tool(name: string, run: AgentTool['run'], more: Partial<AgentTool> = {}): AgentTool {
  return { name, description: `Does ${name}`, input_schema: schema, run, ...more }
}

interface Setup {
  readonly trail: AuditTrail
  readonly model: ScriptedModel
  run(options?: Partial<AuditedAgentOptions>): ReturnType<typeof runAuditedAgent>
  rows(): Promise<Row[]>
}

export async function setUp(...script: readonly Answer[]): Promise<Setup> {
  const dataDir = makeTempDirectory()
  const trail = openTrail({ dataDir })
  const model = await scriptModel(...script)
  return {
    trail,
    model,
    run: (options) =>
      runAuditedAgent({
        trail,
        client: model.client,
        model: 'claude-test',
        system: 'Be brief.',
        message: 'Hi',
        tools: [],
        ...options,
      }),
    async rows() {
      await trail.close()
      return sessionRows(dataDir)
    },
  }
}

export const say = (text: string, more: Answer = {}): Answer => ({ content: [{ type: 'text', text }], ...more })
export const ask = (...calls: readonly [id: string, name: string, input: unknown][]): Answer => ({
  content: calls.map(([id, name, input]) => ({ type: 'tool_use', id, name, input })),
  stop_reason: 'tool_use',
})

export function throwing(message: string): () => never {
  return () => {
    throw new Error(message)
  }
}

const isText = (value: unknown): value is string => typeof value === 'string'
export const outline = (rows: readonly Row[]): string[] =>
  rows.map((row) => [row.event_type, row['tool_name'], row['outcome'], row['reason']].filter(isText).join(' '))
