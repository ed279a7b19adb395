import { setTimeout as delay } from 'node:timers/promises'
import { Unsupported } from '../../unsupported.ts'
import type { Kubectl, KubeObject } from './kubectl.ts'
import { RUN_NAME, SELECTOR } from './manifests.ts'

export interface Pod extends KubeObject {
  metadata: KubeObject['metadata'] & { deletionTimestamp?: string }
  spec: { nodeName?: string }
  status: {
    phase: string
    podIP?: string
    reason?: string
    message?: string
    conditions?: Condition[]
    containerStatuses?: {
      ready: boolean
      state: { waiting?: Waiting; terminated?: { reason?: string; message?: string } }
    }[]
  }
}

interface Condition {
  type: string
  status: string
  reason?: string
  message?: string
}

interface Waiting {
  reason?: string
  message?: string
}

export interface PodsWait {
  names: readonly string[]
  /** Told when it changes, after a while of waiting. */
  tell(line: string): void
}

const LOOK_AGAIN_MS = 400
const PODS_WITHIN_MS = 120_000
const TELL_AFTER_MS = 3000
/** These do not get better by waiting for long; a pull that is under way looks like them for a moment. */
const HOPELESS =
  /^(ErrImageNeverPull|ImagePullBackOff|InvalidImageName|CreateContainerConfigError|CreateContainerError|RunContainerError|CrashLoopBackOff)$/
const HOPELESS_AFTER_MS = 10_000

/** Resolves with the pods once each is ready; Unsupported, with the reason of each that is not, when some do not get there. */
export async function untilReady(kubectl: Kubectl, wanted: PodsWait, stop: AbortSignal): Promise<Map<string, Pod>> {
  const startMs = performance.now()
  let told = ''
  for (;;) {
    stop.throwIfAborted()
    const pods = new Map(
      (await kubectl.list<Pod>('pods', ['-n', RUN_NAME, '-l', SELECTOR])).map(pod => [pod.metadata.name, pod]),
    )
    const waiting = wanted.names.filter(name => !isReady(pods.get(name)))
    if (waiting.length === 0) return pods
    const waitedMs = performance.now() - startMs
    const reasons = reasonsOf(waiting, pods)
    const hopeless = waitedMs > HOPELESS_AFTER_MS && waiting.some(name => isHopeless(pods.get(name)))
    if (waitedMs > PODS_WITHIN_MS || hopeless) throw notReady(wanted.names.length, waiting.length, reasons, waitedMs)
    const line = `${wanted.names.length - waiting.length} of ${wanted.names.length} pods are ready; ${reasons[0] ?? ''}`
    if (waitedMs > TELL_AFTER_MS && line !== told) wanted.tell(line)
    told = waitedMs > TELL_AFTER_MS ? line : told
    await delay(LOOK_AGAIN_MS, undefined, { signal: stop }).catch(() => {})
  }
}

/** Evicted, killed or on its way out: nothing runs in it any more. */
export function hasEnded({ metadata, status: { phase } }: Pod): boolean {
  return metadata.deletionTimestamp !== undefined || phase === 'Failed' || phase === 'Succeeded'
}

function isReady(pod: Pod | undefined): boolean {
  return pod?.status.phase === 'Running' && pod.status.containerStatuses?.every(({ ready }) => ready) === true
}

function isHopeless(pod: Pod | undefined): boolean {
  if (pod?.status.phase === 'Failed') return true
  if (pod?.status.conditions?.some(({ reason }) => reason === 'Unschedulable')) return true
  return HOPELESS.test(pod?.status.containerStatuses?.[0]?.state.waiting?.reason ?? '')
}

/** Why a pod has not started, in the cluster's own words; the same reason of several is told once. */
function reasonsOf(names: readonly string[], pods: ReadonlyMap<string, Pod>): string[] {
  const byReason = new Map<string, string[]>()
  for (const name of names) {
    const reason = reasonOf(pods.get(name))
    byReason.set(reason, [...(byReason.get(reason) ?? []), name])
  }
  return [...byReason].map(([reason, of]) => `${of.slice(0, 3).join(', ')}${of.length > 3 ? ', …' : ''}: ${reason}`)
}

function reasonOf(pod: Pod | undefined): string {
  if (!pod) return 'not created'
  const { phase, reason, message, conditions = [], containerStatuses = [] } = pod.status
  const state = containerStatuses[0]?.state
  const told = [
    state?.waiting,
    state?.terminated,
    { reason, message },
    conditions.find(item => item.status === 'False' && item.message),
  ]
  const words = told.find(item => item?.reason !== undefined || item?.message !== undefined)
  return [words?.reason, words?.message].filter(Boolean).join(': ').slice(0, 300) || phase
}

function notReady(all: number, waiting: number, reasons: readonly string[], waitedMs: number): Unsupported {
  const image = reasons.some(reason => /image/i.test(reason))
  return new Unsupported({
    feature: 'target kubernetes',
    needs: `${all} pods of ours`,
    found: `${waiting} not ready after ${Math.round(waitedMs / 1000)} s; ${reasons.join('; ')}`,
    remedy: image
      ? 'put the probe image where the nodes find it (deploy/README.md), or name another with --image'
      : 'kubectl describe pod tells more while the run waits',
  })
}
