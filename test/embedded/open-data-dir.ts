/**
 * A program that opens a data directory and asks it one thing. With a second argument the kernel confines nothing more: 16
 * layers of Landlock rules are its limit. The layers forbid one thing alone, to make character devices.
 */
import { writeSync } from 'node:fs'
import { type DataDir, openDataDir } from '@agent-audit/embedded'
import { DataType, load, open } from 'ffi-rs'

const LAYERS = 16
const MAKE_CHARACTER_DEVICE = 1 << 6
const [CREATE_RULESET, RESTRICT_SELF, PRCTL, NO_NEW_PRIVILEGES] = [444, 446, 157, 38]

function callKernel(...values: (number | Buffer)[]): number {
  return load({
    library: 'libc',
    funcName: 'syscall',
    retType: DataType.I64,
    paramsType: values.map((value) => (typeof value === 'number' ? DataType.I64 : DataType.U8Array)),
    paramsValue: values,
  })
}

function exhaustLandlock(): void {
  open({ library: 'libc', path: 'libc.so.6' })
  const rules = Buffer.alloc(8)
  rules.writeBigUInt64LE(BigInt(MAKE_CHARACTER_DEVICE))
  callKernel(PRCTL, NO_NEW_PRIVILEGES, 1, 0, 0, 0)
  for (let layer = 0; layer < LAYERS; layer++) callKernel(RESTRICT_SELF, callKernel(CREATE_RULESET, rules, 8, 0), 0)
}

async function ask({ reader }: DataDir, statement: string): Promise<string> {
  const headers = { 'X-ClickHouse-User': reader.username, 'X-ClickHouse-Key': reader.password, connection: 'close' }
  return (await fetch(reader.url, { method: 'POST', body: statement, headers })).text()
}

const [directory = '', exhausted] = process.argv.slice(2)
if (exhausted !== undefined) exhaustLandlock()
await using dataDir = await openDataDir(directory)
writeSync(1, await ask(dataDir, 'SELECT count() FROM audit.audit_events'))
