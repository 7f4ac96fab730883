/** The report of a failing seed: the violation, the command that replays it, and the history. */
import { type Outcome, simulate } from './simulate.ts'

/** Lines of a history that are printed: the violation lies near its end. */
const HISTORY_LINES = 400

/** Runs a failed seed again, with its history. */
export async function describeFailure({ seed, violation }: Outcome): Promise<string> {
  const again = await simulate(seed, true)
  const left = again.history.length - HISTORY_LINES
  const lines = [
    `seed ${seed} failed: ${violation}`,
    `replay: npm run test:sim -- --seeds 1 --seed ${seed}`,
    ...(again.violation === violation ? [] : [`NOT THE SAME AGAIN: ${again.violation ?? 'no failure'}`]),
    ...(left > 0 ? [`… ${left} lines before`] : []),
    ...again.history.slice(-HISTORY_LINES),
  ]
  return `${lines.join('\n')}\n`
}
