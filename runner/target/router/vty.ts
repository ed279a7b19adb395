import { createConnection } from 'node:net'

const LIMIT_MS = 5000
/** An answer ends with three zero octets and the command's result (FRR lib/vty.c, vtysh_read). */
const END = Buffer.of(0, 0, 0)
const SUCCESS = 0

/**
 * One command to an FRR daemon over its vty socket, as vtysh does it, and the answer's text. vtysh itself would want PAM and a
 * configuration below /etc.
 */
export function vty(socketPath: string, command: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(socketPath)
    const answer: Buffer[] = []
    const fail = (why: string) => reject(new Error(`${socketPath}: ${command}: ${why}`))
    socket.setTimeout(LIMIT_MS, () => socket.destroy(new Error(`no answer within ${LIMIT_MS} ms`)))
    socket.on('error', error => fail(error.message))
    socket.on('close', () => fail('closed before the answer was whole'))
    socket.on('connect', () => socket.write(`${command}\0`))
    socket.on('data', data => {
      answer.push(data)
      const all = Buffer.concat(answer)
      if (all.length < 4 || !all.subarray(-4, -1).equals(END)) return
      socket.destroy()
      const text = all.subarray(0, -4).toString('utf8').replaceAll('\0', '')
      if (all.at(-1) === SUCCESS) resolve(text)
      else fail(text.trim())
    })
  })
}
