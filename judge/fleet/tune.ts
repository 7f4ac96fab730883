/** Judges the seeds that thresholds are tuned on: `node --conditions=agent-audit-source judge/fleet/tune.ts [seed…]`. */
import { judgeSeeds, TUNED_ON } from './fleet-part.ts'

const given = process.argv.slice(2).map(Number)
const say = (line: string): void => void process.stdout.write(`${line}\n`)
const section = await judgeSeeds(given.length > 0 ? given : TUNED_ON, say)
for (const { title, columns, rows } of section.tables) {
  say(`\n${title}\n${columns.join(' | ')}`)
  for (const row of rows) say(row.join(' | '))
}
say(`\n${section.misses.join('\n')}`)
