/** Loops, and work that repeats itself for a reason. */
import { type SessionScenario, times } from './session-draft.ts'

const of = (detector: string, scenarios: Omit<SessionScenario, 'detector'>[]): SessionScenario[] =>
  scenarios.map((scenario) => ({ detector, ...scenario }))

const REPEATED = of('loop.repeated_call', [
  {
    kind: 'strong',
    name: 'the same search 6 to 20 times',
    write: (draft, draw) => times(draw(6, 20), () => draft.call('search', { q: 'refund' }, 'nothing found')),
  },
  {
    // Not 3: a third look is what a careful agent does, and the definition leaves it out.
    kind: 'mild',
    name: 'the same search 4 to 6 times',
    write: (draft, draw) => times(draw(4, 6), () => draft.call('search', { q: 'refund' }, 'nothing found')),
  },
  {
    kind: 'mild',
    name: 'the same search 5 to 8 times, with another call once between',
    write(draft, draw) {
      const count = draw(5, 8)
      const cut = draw(1, count - 1)
      times(cut, () => draft.call('search', { q: 'refund' }, 'nothing found'))
      draft.ordinary(1)
      times(count - cut, () => draft.call('search', { q: 'refund' }, 'nothing found'))
    },
  },
  {
    kind: 'benign',
    name: 'a job polled until it is done',
    write(draft, draw) {
      times(draw(4, 25), () => draft.call('job_status', { job: 7 }, '{"state":"running"}'))
      draft.call('job_status', { job: 7 }, '{"state":"done"}')
    },
  },
  {
    kind: 'benign',
    name: 'a job polled that is not done at the end',
    write: (draft, draw) => times(draw(4, 25), () => draft.call('job_status', { job: 7 }, '{"state":"pending"}')),
  },
  {
    // Without the pauses it is the strong form in other words: no recorded field tells the two apart.
    kind: 'benign',
    name: 'an inbox looked at 2 to 8 times, 20 s to 5 min apart, in which no mail comes',
    write: (draft, draw) => times(draw(2, 8), () => draft.pause(20, 300).call('list_mail', { folder: 'inbox' }, '[]')),
  },
  {
    kind: 'benign',
    name: 'an inbox looked at 2 or 3 times without a pause',
    write: (draft, draw) => times(draw(2, 3), () => draft.call('list_mail', { folder: 'inbox' }, '[]')),
  },
  {
    kind: 'benign',
    name: 'the same record fetched again for each of 4 to 8 questions of the user',
    write: (draft, draw) =>
      times(draw(4, 8), (at) => {
        draft.add('user_message', { content: { message: `question ${at}` } })
        draft.call('get_booking', { id: 'B1' }, 'booked')
      }),
  },
  {
    kind: 'benign',
    name: 'pages of a list',
    write: (draft, draw) => times(draw(5, 40), (page) => draft.call('list_orders', { page }, `page ${page}`)),
  },
])

const CYCLES = of('loop.cycle', [
  {
    kind: 'strong',
    name: '5 to 12 rounds of 2 to 4 calls',
    write(draft, draw) {
      const period = draw(2, 4)
      times(draw(5, 12) * period, (at) => draft.call('open', { file: at % period }, `text ${at % period}`))
    },
  },
  {
    kind: 'mild',
    name: '2 to 4 rounds of 2 to 5 calls',
    write(draft, draw) {
      const period = draw(2, 5)
      times(draw(2, 4) * period, (at) => draft.call('open', { file: at % period }, `text ${at % period}`))
    },
  },
  {
    kind: 'benign',
    name: 'edit and test, each time with another result',
    write: (draft, draw) =>
      times(draw(5, 20), (at) => {
        draft.call('edit', { file: 'a.ts', change: at }, 'ok')
        draft.call('test', {}, `failed at line ${at}`)
      }),
  },
  {
    kind: 'benign',
    name: 'edit with the same words and test, until the test passes',
    write(draft, draw) {
      times(draw(3, 6), () => {
        draft.call('format', { file: 'a.ts' }, 'ok')
        draft.call('test', {}, 'failed')
      })
      draft.call('test', {}, 'passed')
    },
  },
  {
    kind: 'benign',
    name: 'edit and test, each time with the same failure',
    write: (draft, draw) =>
      times(draw(4, 12), (at) => {
        draft.call('edit', { file: 'a.ts', change: at }, 'ok')
        draft.call('test', {}, 'failed at line 7')
      }),
  },
  {
    kind: 'benign',
    name: 'an inbox looked at 3 to 8 times, with a tool that waits between',
    write: (draft, draw) =>
      times(draw(3, 8), () => {
        draft.call('list_mail', { folder: 'inbox' }, '[]')
        draft.call('wait', { seconds: 30 }, 'ok')
      }),
  },
  {
    kind: 'benign',
    name: 'two or three files read twice to compare them',
    write(draft, draw) {
      const period = draw(2, 3)
      times(2 * period, (at) => draft.call('open', { file: at % period }, `text ${at % period}`))
    },
  },
  {
    kind: 'benign',
    name: 'four or five files read again for the next question of the user',
    write(draft, draw) {
      const period = draw(4, 5)
      times(draw(2, 3), (at) => {
        draft.add('user_message', { content: { message: `question ${at}` } })
        times(period, (file) => draft.call('open', { file }, `text ${file}`))
      })
    },
  },
  {
    kind: 'benign',
    name: 'two jobs polled in turn',
    write: (draft, draw) =>
      times(draw(3, 12), () => {
        draft.call('job_status', { job: 1 }, 'pending')
        draft.call('job_status', { job: 2 }, 'pending')
      }),
  },
])

const ERRORS = of('loop.equal_errors', [
  {
    kind: 'strong',
    name: 'the same error 7 to 20 times',
    write: (draft, draw) => times(draw(7, 20), (at) => draft.call('book', { seat: at }, `!seat ${at}: no quota left`)),
  },
  {
    kind: 'mild',
    name: 'the same error 3 to 6 times',
    write: (draft, draw) => times(draw(3, 6), (at) => draft.call('book', { seat: at }, `!seat ${at}: no quota left`)),
  },
  {
    kind: 'mild',
    name: 'an error 5 to 9 times that quotes other words each time',
    write: (draft, draw) =>
      times(draw(5, 9), (at) => {
        const name = String.fromCodePoint(97 + at).repeat(4)
        draft.call('query', { column: name }, `!unknown column ${name}`)
      }),
  },
  {
    kind: 'benign',
    name: 'retries that succeed',
    write(draft, draw) {
      times(draw(2, 8), (at) => draft.call('pay', { eur: 1 }, `!503 after ${at} ms`))
      draft.call('pay', { eur: 1 }, 'paid')
    },
  },
  {
    kind: 'benign',
    name: '2 or 3 equal errors, and another way from there',
    write: (draft, draw) => times(draw(2, 3), () => draft.call('book', { seat: 1 }, '!no quota left')),
  },
  {
    kind: 'benign',
    name: 'items that fail, each in its own way',
    write: (draft, draw) =>
      times(draw(4, 8), (at) => {
        const why = ['no such address', 'mailbox full', 'blocked by the recipient', 'message too large'][at % 4]
        draft.call('mail', { to: `x${at}` }, `!${why}`)
      }),
  },
  {
    kind: 'benign',
    name: 'a batch of which some items fail, in any order',
    write: (draft, draw) =>
      times(draw(30, 60), (at) => draft.call('mail', { to: at }, draw(0, 99) < 15 ? '!no such address' : 'sent')),
  },
  {
    kind: 'benign',
    name: 'a batch whose last 2 to 5 items fail',
    write(draft, draw) {
      times(draw(10, 30), (at) => draft.call('mail', { to: at }, 'sent'))
      times(draw(2, 5), (at) => draft.call('mail', { to: `x${at}` }, '!no such address'))
    },
  },
])

const PROGRESS = of('loop.no_progress', [
  {
    kind: 'strong',
    name: '20 to 40 calls out of 4 known ones, in any order',
    write: (draft, draw) =>
      times(draw(20, 40), () => {
        const file = draw(0, 3)
        draft.call('open', { file }, `text ${file}`)
      }),
  },
  {
    // Not 12 to 25: of 12 calls, 4 known ones and one new, 7 bring nothing, and the definition asks for 10 in a row.
    kind: 'mild',
    name: '16 to 30 calls out of 4 known ones, each eighth new',
    write: (draft, draw) =>
      times(draw(16, 30), (at) => {
        const file = at % 8 === 7 ? 100 + at : draw(0, 3)
        draft.call('open', { file }, `text ${file}`)
      }),
  },
  {
    kind: 'benign',
    name: 'files read again after each change',
    write: (draft, draw) =>
      times(draw(10, 30), (at) => {
        draft.call('edit', { file: at % 3, change: at }, 'ok')
        draft.call('open', { file: at % 3 }, `text after change ${at}`)
      }),
  },
  {
    kind: 'benign',
    name: 'a watch over 3 sensors whose values never change, a round each 20 s to 5 min',
    write: (draft, draw) =>
      times(draw(4, 12), () => {
        draft.pause(20, 300)
        times(3, (sensor) => draft.call('read_sensor', { sensor }, '230 V'))
      }),
  },
  {
    kind: 'benign',
    name: 'a watch over 3 sensors whose values seldom change',
    write: (draft, draw) =>
      times(draw(10, 30), () => {
        const sensor = draw(0, 2)
        draft.call('read_sensor', { sensor }, draw(0, 4) === 0 ? `${draw(0, 999)} V` : '230 V')
      }),
  },
])

const LIMITS = of('loop.step_limit', [
  {
    kind: 'strong',
    name: 'a session that was ended at a limit',
    write: (draft, draw) => void draft.ordinary(draw(10, 40)).add('session_timeout', { reason: 'max_steps' }),
  },
  {
    kind: 'mild',
    name: 'a limit that only the reason of the session end names',
    write: (draft, draw) =>
      void draft.ordinary(draw(10, 40)).add('session_end', { outcome: 'error', reason: 'max_steps' }),
  },
  {
    kind: 'benign',
    name: 'an end whose reason names a limit of the business',
    write: (draft, draw) =>
      void draft.ordinary(draw(5, 20)).add('session_end', {
        outcome: 'error',
        reason:
          ['the credit limit is reached', 'over the limit for refunds', 'the time to book has passed'][draw(0, 2)] ??
          '',
      }),
  },
  { kind: 'benign', name: 'a long session', write: (draft, draw) => void draft.ordinary(draw(60, 90)) },
])

export const LOOP_SCENARIOS: readonly SessionScenario[] = [...REPEATED, ...CYCLES, ...ERRORS, ...PROGRESS, ...LIMITS]
