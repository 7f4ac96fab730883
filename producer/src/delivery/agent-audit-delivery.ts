/** Entry of the delivery thread. */
import { parentPort, workerData } from 'node:worker_threads'
import { Delivery } from './delivery.ts'
import type { DeliverySettings, ToDelivery } from './protocol.ts'

const port = parentPort
if (port === null) throw new Error('only a trail starts this file, as a worker thread')
const { settings, started } = workerData as { settings: DeliverySettings; started: Int32Array }
const delivery = new Delivery(settings, (report) => {
  port.postMessage(report, report.freed)
  // The last one: the thread ends by itself once its handles are closed.
  if (report.closed) port.close()
})
port.on('message', (message: ToDelivery) => delivery.handle(message))
// The agent's thread may wait for this, blocked, at the end of the process.
Atomics.store(started, 0, 1)
Atomics.notify(started, 0)
