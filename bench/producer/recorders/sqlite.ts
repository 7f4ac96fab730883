/** A common first audit log: SQLite with default settings, and one connection for each event. */
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setImmediate } from 'node:timers/promises'
import { toPlainEvents } from './plain-events.ts'
import type { OpenRecorder } from './recorder.ts'

const TABLE = `CREATE TABLE events (
  event_id TEXT PRIMARY KEY, timestamp TEXT, event_type TEXT, session_id TEXT, session_seq INTEGER, agent_id TEXT, event TEXT
)`
const INSERT = 'INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)'

export const sqlite: OpenRecorder = ({ directory }) => {
  const file = join(directory, 'events.db')
  const database = new DatabaseSync(file)
  database.exec(TABLE)
  database.close()
  return Promise.resolve({
    async play(script) {
      const events = toPlainEvents(script)
      let bytes = 0
      for (const event of events) {
        const text = JSON.stringify(event)
        bytes += text.length
        const { event_id, timestamp, event_type, session_id, session_seq, agent_id } = event
        const connection = new DatabaseSync(file)
        connection.prepare(INSERT).run(event_id, timestamp, event_type, session_id, session_seq, agent_id, text)
        connection.close()
      }
      await setImmediate()
      return { events: events.length, bytes }
    },
    flush: () => Promise.resolve(),
    close: () => Promise.resolve(),
  })
}
