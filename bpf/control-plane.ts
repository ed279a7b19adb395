import type { Answer, Published, Request } from './control-plane-process.ts'
import type { Datapath } from './datapath.ts'
import { MapsProcess, passDatapath } from './maps-process.ts'

/** What keeps the nodes' subscriber tables in step: one agent a node, all in one process that is not the caller's. */
export interface ControlPlane {
  /** Resolves when every membership change that had happened before the call has reached the other nodes' tables. */
  settled(): Promise<void>
  /** A node's agent dies and starts anew from the node's maps. */
  restart(node: string): Promise<void>
  /** What the nodes of this control plane tell the others: for those whose agents run elsewhere. */
  published(): Promise<Published[]>
  /** The nodes whose agents run elsewhere, all of them, with what they published. */
  setPeers(peers: Published[]): Promise<void>
  /** Before the datapaths are closed: its process uses their file descriptors. */
  close(): Promise<void>
}

/**
 * Starts it for datapaths that are attached; pods and groups may come and go afterwards. `onNews` is for nodes with peers whose
 * agents run elsewhere: it is called when `published` has changed since it was read.
 */
export async function startControlPlane(
  datapaths: readonly Datapath[],
  onNews: () => void = () => {},
): Promise<ControlPlane> {
  const handles = datapaths.map(datapath => datapath.handle())
  const child = new MapsProcess<Request, Answer>(
    'control-plane-process',
    'control plane',
    pass => handles.map(handle => passDatapath(handle, pass)),
    onNews,
  )
  await child.started
  return {
    settled: async () => void (await child.ask({ do: 'settle' })),
    restart: async node => void (await child.ask({ do: 'restart', node })),
    published: async () => (await child.ask({ do: 'published' })).published ?? [],
    setPeers: async peers => void (await child.ask({ do: 'peers', peers })),
    close: () => child.close(),
  }
}
