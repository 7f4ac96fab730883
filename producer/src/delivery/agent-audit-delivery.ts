/** Entry of the delivery thread. */
import { parentPort, workerData } from 'node:worker_threads'
import { Delivery } from './delivery.ts'
import type { ThreadSettings, ToDelivery } from './protocol.ts'

const port = parentPort
if (port === null) throw new Error('only a trail starts this file, as a worker thread')
const { settings, started } = workerData as { settings: ThreadSettings; started: Int32Array }
const delivery = new Delivery(settings, {
  post(report) {
    port.postMessage(report, report.freed)
    // The last one: the thread ends by itself once its handles are closed.
    if (report.closed) port.close()
  },
  // Outside of every call and promise an error ends the thread, whatever Node does about rejections.
  fail(error) {
    setImmediate(() => {
      throw error
    })
  },
})
delivery.start()
port.on('message', (message: ToDelivery) => delivery.handle(message))
// The agent's thread may wait for this, blocked, at the end of the process.
Atomics.store(started, 0, 1)
Atomics.notify(started, 0)
