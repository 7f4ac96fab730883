/** ClickHouse killed, refusing, or out of room; its answers lost, its connections cut. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { CuttingProxy, ProxyRule } from '../support/cutting-proxy.ts'
import { addSetting, cutInBody, loseAnswer, watchInsert } from '../support/insert-rules.ts'
import { aWorkingMember } from './consumer-faults.ts'
import { between, type Fault, type Injected, type Scene } from './fault.ts'

const AWAIT_INSERT_MS = 15_000
const MID_INSERT_MS = 15
const CUT_AFTER_BYTES = 20_000
const DOWN_MS = 1500
const REFUSING_MS = { least: 500, most: 2500 }

export const storeFaults: readonly Fault[] = [
  { kind: 'ClickHouse killed in an insert', target: 'store', inject: (scene) => killStore(scene, 'sent') },
  {
    kind: 'ClickHouse killed right after its answer',
    target: 'store',
    inject: (scene) => killStore(scene, 'answered'),
  },
  { kind: 'answer of an insert lost', target: 'link to the store', inject: loseOneAnswer },
  { kind: 'connection cut in the body of an insert', target: 'link to the store', inject: cutOneBody },
  {
    kind: 'memory limit',
    target: 'link to the store',
    inject: (scene) => refuseBySetting(scene, 'max_memory_usage=1000'),
  },
  { kind: 'read-only user', target: 'link to the store', inject: (scene) => refuseBySetting(scene, 'readonly=2') },
  { kind: 'read-only table', target: 'store', inject: (scene) => alterForAWhile(scene, ['table_readonly']) },
  {
    kind: 'too many parts',
    target: 'store',
    inject: (scene) => alterForAWhile(scene, ['parts_to_throw_insert', 'parts_to_delay_insert']),
  },
  { kind: 'disk full', target: 'store', inject: fillDisk, unavailable: (servers) => servers.noDisk },
]

/** Runs a rule until it says that it has struck. @returns Whether it has, in time. */
async function strikeBy(proxy: CuttingProxy, make: (struck: () => void) => ProxyRule): Promise<boolean> {
  const struck = Promise.withResolvers<boolean>()
  const rule = make(() => struck.resolve(true))
  proxy.rules.add(rule)
  try {
    return await Promise.race([struck.promise, sleep(AWAIT_INSERT_MS, false, { ref: false })])
  } finally {
    proxy.rules.delete(rule)
  }
}

async function killStore(scene: Scene, when: 'sent' | 'answered'): Promise<Injected> {
  const { servers, random, trail } = scene
  const member = await aWorkingMember(scene)
  const seen = await strikeBy(member.toStore, (struck) => watchInsert(when, struck))
  if (when === 'sent') await sleep(between(random, 0, MID_INSERT_MS))
  const at = Date.now()
  await servers.killStore()
  await sleep(between(random, 0, DOWN_MS))
  await servers.restartStore()
  return { at, partitions: trail.partitions, ...(seen ? {} : { missed: 'no insert was seen' }) }
}

async function loseOneAnswer(scene: Scene): Promise<Injected> {
  const member = await aWorkingMember(scene)
  const seen = await strikeBy(member.toStore, loseAnswer)
  return { at: Date.now(), partitions: member.partitions, ...(seen ? {} : { missed: 'no insert was seen' }) }
}

async function cutOneBody(scene: Scene): Promise<Injected> {
  const member = await aWorkingMember(scene)
  const afterBytes = Math.floor(between(scene.random, 1, CUT_AFTER_BYTES))
  const seen = await strikeBy(member.toStore, (struck) => cutInBody(afterBytes, struck))
  return { at: Date.now(), partitions: member.partitions, ...(seen ? {} : { missed: 'no insert was long enough' }) }
}

async function refuseBySetting(scene: Scene, setting: string): Promise<Injected> {
  const member = await aWorkingMember(scene)
  const { partitions } = member
  const rule = addSetting(setting)
  member.toStore.rules.add(rule)
  await sleep(between(scene.random, REFUSING_MS.least, REFUSING_MS.most))
  member.toStore.rules.delete(rule)
  return { at: Date.now(), partitions }
}

async function alterForAWhile({ servers, random, trail }: Scene, settings: readonly string[]): Promise<Injected> {
  await servers.alter(`MODIFY SETTING ${settings.map((name) => `${name} = 1`).join(', ')}`)
  await sleep(between(random, REFUSING_MS.least, REFUSING_MS.most))
  await servers.alter(`RESET SETTING ${settings.join(', ')}`)
  return { at: Date.now(), partitions: trail.partitions }
}

async function fillDisk({ servers, random, trail }: Scene): Promise<Injected> {
  const makeRoom = await servers.fillDisk()
  await sleep(between(random, REFUSING_MS.least, REFUSING_MS.most))
  await makeRoom()
  return { at: Date.now(), partitions: trail.partitions }
}
