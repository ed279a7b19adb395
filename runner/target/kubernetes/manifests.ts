import type { KubeObject } from './kubectl.ts'

/** Of the namespace, and of what belongs to no namespace. */
export const RUN_NAME = 'castproof-run'
/** On everything of ours in a cluster. */
export const OURS = { 'app.kubernetes.io/managed-by': 'castproof' } as const
export const SELECTOR = 'app.kubernetes.io/managed-by=castproof'
/** Who made it, so that the next start can tell a run that is under way from what a dead one left. */
export const OWNER = 'castproof.dev/owner'

/** No pod of ours outlives this, whatever becomes of the run. */
const LONGEST_RUN_S = 4 * 3600
/** A pod in which no agent runs for so long ends: its run is dead. */
export const ALONE_LIMIT_S = 180

export interface Owner {
  host: string
  /** Whose pids they are. */
  processes: string
  pid: number
  /** Start time of the process in clock ticks since boot: a pid alone may have been given to somebody else. */
  startTicks: string
}

export function isOurs({ metadata }: KubeObject): boolean {
  return Object.entries(OURS).every(([key, value]) => metadata.labels?.[key] === value)
}

export function namespaceManifest(owner: Owner): object {
  return {
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: {
      name: RUN_NAME,
      labels: {
        ...OURS,
        // Taps of nodes are in the host's network: nothing less than privileged admits them.
        'pod-security.kubernetes.io/enforce': 'privileged',
        'pod-security.kubernetes.io/audit': 'privileged',
        'pod-security.kubernetes.io/warn': 'privileged',
      },
      annotations: { [OWNER]: JSON.stringify(owner) },
    },
  }
}

export interface PodWanted {
  name: string
  /** As the cluster calls it. */
  node: string
  kind: 'probe' | 'tap'
}

/** A pod that does nothing until an agent is started in it. */
export function podManifest({ name, node, kind }: PodWanted, image: string): object {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: RUN_NAME, labels: { ...OURS, 'castproof.dev/pod': kind } },
    spec: {
      // By affinity and not by nodeName: a node that has no room for it says so.
      affinity: {
        nodeAffinity: {
          requiredDuringSchedulingIgnoredDuringExecution: {
            nodeSelectorTerms: [{ matchFields: [{ key: 'metadata.name', operator: 'In', values: [node] }] }],
          },
        },
      },
      hostNetwork: kind === 'tap',
      dnsPolicy: 'Default',
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      restartPolicy: 'Never',
      terminationGracePeriodSeconds: 1,
      activeDeadlineSeconds: LONGEST_RUN_S,
      containers: [container(kind, image)],
      volumes: [{ name: 'tmp', emptyDir: {} }],
    },
  }
}

/** Programs of suites run in probes: tcpdump becomes another user, and must end all the same. */
const CAPABILITIES = { tap: ['NET_RAW', 'NET_ADMIN'], probe: ['KILL', 'NET_RAW', 'SETGID', 'SETUID'] } as const

function container(kind: PodWanted['kind'], image: string): object {
  return {
    name: 'castproof',
    image,
    imagePullPolicy: 'IfNotPresent',
    command: ['node', '-e', IDLE],
    // Its share of a busy node: what gets no turn for seconds loses frames.
    resources: { requests: { cpu: kind === 'tap' ? '200m' : '50m', memory: '64Mi' } },
    securityContext: {
      // Capabilities of a pod reach a program of root only.
      runAsUser: 0,
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'], add: CAPABILITIES[kind] },
      seccompProfile: { type: 'RuntimeDefault' },
    },
    volumeMounts: [{ name: 'tmp', mountPath: '/tmp' }],
  }
}

/** As process 1 it gets no signal that it does not ask for. Agents are the other processes that there are. */
const IDLE = `
process.on('SIGTERM', () => process.exit())
const { readdirSync } = require('node:fs')
let aloneS = 0
setInterval(() => {
  const others = readdirSync('/proc').filter(name => /^[0-9]+$/.test(name) && name !== '1')
  aloneS = others.length > 0 ? 0 : aloneS + 5
  if (aloneS >= ${ALONE_LIMIT_S}) process.exit()
}, 5000)`
