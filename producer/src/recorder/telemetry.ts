/** Publishes the rare events of a trail through `node:diagnostics_channel`. Without a subscriber it makes nothing. */
import { channel } from 'node:diagnostics_channel'
import type { DeliveryMessage, TelemetryChannels, TelemetrySource } from '../api/telemetry.ts'

const CHANNELS = {
  'agent-audit:lost': channel('agent-audit:lost'),
  'agent-audit:delivery': channel('agent-audit:delivery'),
  'agent-audit:problem': channel('agent-audit:problem'),
} as const

export class Telemetry {
  readonly #source: TelemetrySource
  #isConnected = false

  constructor({ agentId, topic }: Pick<TelemetrySource, 'agentId' | 'topic'>, runId: string) {
    this.#source = { agentId, topic, runId }
  }

  /** Never throws: Node.js passes an error of a subscriber on as an uncaught exception, in a later turn. */
  publish<Name extends keyof TelemetryChannels>(
    name: Name,
    message: Omit<TelemetryChannels[Name], keyof TelemetrySource>,
  ): void {
    const subscribed = CHANNELS[name]
    if (subscribed.hasSubscribers) subscribed.publish({ ...this.#source, ...message })
  }

  delivery(state: DeliveryMessage['state']): void {
    this.#isConnected = state === 'connected'
    this.publish('agent-audit:delivery', { state })
  }

  /** Publishes a change alone. */
  connected(now: boolean): void {
    if (now !== this.#isConnected) this.delivery(now ? 'connected' : 'disconnected')
  }
}
