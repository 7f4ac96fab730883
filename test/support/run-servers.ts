/**
 * Where the servers of a run come from: chosen once, before the workers start, which inherit the choice. With no Docker engine
 * on the machine that is a look for its socket.
 */
import { chooseServers, SERVER_KINDS } from '@agent-audit/stack'

export function setup(): Promise<void> {
  return chooseServers(SERVER_KINDS)
}
