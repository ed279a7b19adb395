import { createSocket, type Socket } from 'node:dgram'

const TRIES = 3
const TRY_MS = 400

/** A UDP socket that sends every datagram back. */
export function openEcho(): Promise<Socket> {
  const socket = createSocket('udp4')
  socket.on('message', (message, { address, port }) => socket.send(message, port, address))
  return new Promise((resolve, reject) => {
    socket.once('error', reject)
    socket.bind(0, () => resolve(socket))
  })
}

/** There and back to such a socket; null when nothing came back. The first try may have to find the neighbour. */
export async function roundTripMs({ address, port }: { address: string; port: number }): Promise<number | null> {
  const socket = createSocket('udp4')
  try {
    let best: number | null = null
    for (let i = 0; i < TRIES; i++) {
      const ms = await once(socket, `castproof ${i}`, { address, port })
      if (ms !== null && (best === null || ms < best)) best = ms
    }
    return best
  } finally {
    socket.close()
  }
}

/** An answer to an earlier try that comes late is none to this one. */
function once(
  socket: Socket,
  text: string,
  { address, port }: { address: string; port: number },
): Promise<number | null> {
  return new Promise(resolve => {
    const startMs = performance.now()
    const end = (ms: number | null): void => {
      clearTimeout(timer)
      socket.removeAllListeners()
      resolve(ms)
    }
    const timer = setTimeout(() => end(null), TRY_MS)
    socket.on('message', message => message.toString() === text && end(performance.now() - startMs))
    socket.once('error', () => end(null))
    socket.send(text, port, address, error => error && end(null))
  })
}
