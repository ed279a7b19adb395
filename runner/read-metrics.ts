import { request } from 'node:http'
import { Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import type { Netns } from '../generators/linux/netns.ts'
import { connectTcp } from '../generators/linux/tcp-socket.ts'
import { parseIpv4 } from '../generators/wire/address.ts'

/** Also where the machine is emulated. */
const LIMIT_MS = 60_000
const LOCALHOST = parseIpv4('127.0.0.1')

/** GET of a server in a namespace, by its loopback: what it answers is seen at no tap. */
export async function readMetrics(ns: Netns, port: number, path = '/metrics'): Promise<string> {
  const fd = connectTcp(LOCALHOST, port, ns)
  return new Promise((resolve, reject) => {
    const asked = request(
      {
        path,
        host: 'localhost',
        signal: AbortSignal.timeout(LIMIT_MS),
        createConnection: () => new Socket({ fd, readable: true, writable: true }),
      },
      response => {
        if (response.statusCode === 200) text(response).then(resolve, reject)
        else reject(new Error(`GET ${path} of port ${port}: ${response.statusCode}`))
      },
    )
    asked.on('error', reject)
    asked.end()
  })
}
