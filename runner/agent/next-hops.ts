import { createSocket } from 'node:dgram'
import { setTimeout as delay } from 'node:timers/promises'
import { execa } from 'execa'

const LIMIT_MS = 2000
const ASK_AGAIN_MS = 20
/** Discard: nobody has to take it, it only makes the kernel look for the neighbour. */
const DISCARD_PORT = 9

interface Neighbour {
  dst: string
  lladdr?: string
}

/** MAC address of the neighbour that unicast packets to each address go to first; those that no answer gives are left out. */
export async function nextHopMacs(device: string, addresses: readonly string[]): Promise<Record<string, string>> {
  const hops = new Map<string, string>()
  for (const address of addresses) {
    const hop = await nextHop(device, address)
    if (hop !== undefined) hops.set(address, hop)
  }
  const macs = await neighbours(device, new Set(hops.values()))
  return Object.fromEntries(
    [...hops].flatMap(([address, hop]) => {
      const mac = macs.get(hop)
      return mac === undefined ? [] : [[address, mac]]
    }),
  )
}

/** Undefined for an own address, or where no route leads through the device. */
async function nextHop(device: string, address: string): Promise<string | undefined> {
  const { stdout, failed } = await execa('ip', ['-json', 'route', 'get', address], { reject: false, timeout: 10_000 })
  if (failed) return undefined
  const [route] = JSON.parse(stdout) as { dev?: string; gateway?: string; type?: string }[]
  return route?.dev === device ? (route.gateway ?? address) : undefined
}

async function neighbours(device: string, wanted: ReadonlySet<string>): Promise<Map<string, string>> {
  const endMs = performance.now() + LIMIT_MS
  for (;;) {
    const known = await neighboursNow(device)
    const missing = [...wanted].filter(address => !known.has(address))
    if (missing.length === 0 || performance.now() >= endMs) return known
    await Promise.all(missing.map(poke))
    await delay(ASK_AGAIN_MS)
  }
}

async function neighboursNow(device: string): Promise<Map<string, string>> {
  const { stdout } = await execa('ip', ['-json', 'neigh', 'show', 'dev', device], { timeout: 10_000 })
  const list = JSON.parse(stdout || '[]') as Neighbour[]
  return new Map(list.flatMap(({ dst, lladdr }) => (lladdr === undefined ? [] : [[dst, lladdr]])))
}

function poke(address: string): Promise<void> {
  const socket = createSocket('udp4')
  return new Promise(resolve => {
    socket.send('', DISCARD_PORT, address, () => {
      socket.close()
      resolve()
    })
  })
}
