/**
 * Loaded into the consumer's process before its own code: when the channel to our process closes, which it does however
 * our process ends, the consumer drains as it does on SIGTERM.
 */
process.once('disconnect', () => process.kill(process.pid, 'SIGTERM'))
// Waiting for the end of the channel must not keep a consumer alive that has drained.
process.channel?.unref()
