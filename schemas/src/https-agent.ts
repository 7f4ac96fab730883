/** HTTPS to ClickHouse and to a schema registry. */
import type { Agent, AgentOptions } from 'node:https'
import { type ClientTls, openTls } from './tls.ts'

/**
 * An agent that reads the files of its certificates for each connection, and resumes no TLS session: that would keep the
 * certificate of the first one.
 * @param prefix - Of the settings that errors name.
 */
export function httpsAgent(tls: ClientTls, prefix: string, options: AgentOptions = {}): Agent {
  const agent = new (process.getBuiltinModule('node:https').Agent)({ ...options, maxCachedSessions: 0 })
  const connect = agent.createConnection.bind(agent)
  agent.createConnection = (to, callback) => {
    try {
      return connect({ ...to, ...openTls(tls, prefix) }, callback)
    } catch (error) {
      // Not thrown: http would throw it out of the call that begins the request.
      process.nextTick(() => callback?.(error as Error, undefined as never))
      return undefined
    }
  }
  return agent
}
