/**
 * Loaded into the consumer's process before its code. When the channel to its parent closes, the consumer drains as it does
 * on SIGTERM: the channel closes however the parent ends.
 */
process.once('disconnect', () => process.kill(process.pid, 'SIGTERM'))
// Waiting for the end of the channel must not keep a drained consumer alive.
process.channel?.unref()
