/** Shared by the tests of redaction: the values recorded under given rules, and texts that look like secrets. */
import type { Redact } from '@agent-audit/producer'
import { record, type Row } from '../support.ts'

/** The recorded texts of these outputs of a tool. */
export async function outputsOf(texts: readonly string[], redact?: Redact): Promise<string[]> {
  const rows = await record(
    (session) => {
      for (const text of texts) session.toolResult({ tool_call_id: 'c', tool_name: 't', tool_output: text })
    },
    { redact },
  )
  return rows.map(({ tool_output: output }) => String(output))
}

/** The row of a tool call with this input. */
export async function inputOf(input: unknown, redact?: Redact): Promise<Row> {
  const [row] = await record((session) => void session.toolCall({ tool_name: 't', tool_input: input }), { redact })
  if (row === undefined) throw new Error('no row')
  return row
}

// The parts are joined at run time, so that no scanner takes this file for a leak.
export const fake = {
  aws: ['AKIA', 'IOSFODNN7EXAMPLE'].join(''),
  github: `ghp_${'a1B2'.repeat(9)}`,
  githubFine: `github_pat_${'a1B2c3'.repeat(12)}`,
  gitlab: `glpat-${'x9Yz'.repeat(5)}`,
  slack: `xoxb-${'1234567890-'.repeat(2)}abcdefABCDEF`,
  stripe: ['sk_live_', '4eC39HqLyjWDarjtT1zdp7dc'].join(''),
  openai: `sk-proj-${'Ab1_'.repeat(12)}`,
  anthropic: `sk-ant-api03-${'x-Y9'.repeat(20)}`,
  google: `AIza${'SyA1b2C3d4'.repeat(4).slice(0, 35)}`,
  huggingface: `hf_${'abcdEFGH12'.repeat(4)}`,
  npm: `npm_${'abcdEFGH12'.repeat(4).slice(0, 36)}`,
  sendgrid: `SG.${'a1B2c3D4e5F'.repeat(2)}.${'a1B2c3D4e5'.repeat(5).slice(0, 43)}`,
  telegram: `123456789:AA${'Ab1_Cd2-Ef3'.repeat(3)}`,
  jwt: ['eyJhbGciOiJIUzI1NiJ9', 'eyJzdWIiOiIxMjM0NTY3ODkwIn0', 'dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U'].join('.'),
  pem: `-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\n${'q7+/'.repeat(16)}\n-----END RSA PRIVATE KEY-----`,
}
