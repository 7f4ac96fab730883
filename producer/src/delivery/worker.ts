/** Entry of the delivery thread. */
import { parentPort, workerData } from 'node:worker_threads'
import { Delivery } from './delivery.ts'
import type { DeliverySettings, ToDelivery } from './protocol.ts'

const port = parentPort
if (port === null) throw new Error('delivery-worker is started by a trail, as a worker thread')
const { settings, started } = workerData as { settings: DeliverySettings; started: Int32Array }
const delivery = new Delivery(settings, (report) => {
  port.postMessage(report, report.freed)
  // The last one: the thread ends by itself, once what it has opened is closed.
  if (report.closed) port.close()
})
port.on('message', (message: ToDelivery) => delivery.handle(message))
// Whoever ends the process may be waiting for it, blocked.
Atomics.store(started, 0, 1)
Atomics.notify(started, 0)
