/**
 * The folder and the file of the notary's checkpoints belong to root: the notary, and any process of its user, appends to the file
 * and cannot remove or rename it. `chattr +a` on the file, by root of the host, also keeps it from being cut short.
 */
const { chmodSync, chownSync, closeSync, openSync } = require('node:fs')

/** Of the images: deploy/docker/Dockerfile. */
const GROUP = 10_001
const [folder, file] = ['/checkpoints', '/checkpoints/checkpoints']

chownSync(folder, 0, 0)
chmodSync(folder, 0o755)
try {
  closeSync(openSync(file, 'ax', 0o660))
  chownSync(file, 0, GROUP)
  chmodSync(file, 0o660)
} catch (error) {
  // An append-only file refuses another mode, and has the right one.
  if (error.code !== 'EEXIST') throw error
}
