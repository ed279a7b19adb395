import type { FrameSpec } from './frame-spec.ts'
import { IgmpHosts } from './igmp-host.ts'
import { openIgmpSocket } from './linux/igmp-socket.ts'
import type { Netns } from './linux/netns.ts'

export interface IgmpInterfaceOptions {
  ns?: Netns
  interface: string
  seed?: number
  defaults?: FrameSpec
  /** How often arriving queries are looked for; 0: never, for hosts that answer nothing. 10 ms unless given. */
  pollMs?: number
  /** The interface is gone, or down when something was to be sent. */
  onError(error: unknown): void
}

/** IGMP hosts on a real interface: one raw socket, one timer to look for queries. */
export function openIgmpHosts(options: IgmpInterfaceOptions): IgmpHosts {
  const igmpSocket = openIgmpSocket(options)
  let timer: NodeJS.Timeout | undefined
  const hosts = new IgmpHosts({
    ...options,
    send: frame => igmpSocket.send(frame),
    onClose() {
      clearInterval(timer)
      igmpSocket.close()
    },
  })
  const poll = (): void => {
    try {
      igmpSocket.drain(frame => hosts.receive(frame))
    } catch (error) {
      clearInterval(timer)
      options.onError(error)
    }
  }
  if (options.pollMs !== 0) timer = setInterval(poll, options.pollMs ?? 10)
  return hosts
}
