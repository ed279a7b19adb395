import { bool, int, mapping, oneOf } from '../leaf.ts'
import { mistakes } from '../mistakes.ts'
import type { References } from '../names.ts'
import { type ReadStep, readStep, stepId } from './read-step.ts'

export function joinSchema(refs: References) {
  return mapping({
    id: stepId().exactOptional(),
    endpoint: refs.endpoints,
    group: refs.groups,
    version: oneOf([1, 2, 3]).exactOptional(),
    include: refs.addresses.exactOptional(),
    exclude: refs.addresses.exactOptional(),
    hosts: refs.addresses.exactOptional(),
    robustness: int(1, 7).exactOptional(),
    via: oneOf(['emulator', 'socket']).exactOptional(),
    answers: bool().exactOptional(),
  }).transform((join, context): ReadStep => {
    const version = join.version ?? 3
    const mistake = (message: string, hint: string, key: string) =>
      mistakes(context, join)('bad-join', message, hint, [key])
    if (join.include && join.exclude)
      mistake('include and exclude in one join', 'a filter has one mode (RFC 3376 §3.2)', 'exclude')
    if (join.include?.length === 0)
      mistake('include of no source is a leave', 'use a `leave` step, or exclude: [] for all sources', 'include')
    if (version < 3 && (join.include || join.exclude))
      mistake(`IGMPv${version} has no source filters`, 'version: 3', 'version')
    if (join.via === 'socket' && (version < 3 || join.hosts || join.robustness !== undefined))
      mistake("the pod's kernel decides version, address and robustness itself", 'via: emulator', 'via')
    const filter = filterOf(join.include, join.exclude)
    return readStep('join', join.id, {
      action: 'join',
      pods: join.endpoint,
      ...groupsOf(join.group),
      igmpVersion: version,
      ...(filter ? { filter } : {}),
      ...(join.hosts ? { hosts: join.hosts } : {}),
      robustness: join.robustness ?? 2,
      via: join.via ?? 'emulator',
      answers: join.answers ?? true,
    })
  })
}

function filterOf(
  include?: number[],
  exclude?: number[],
): { mode: 'include' | 'exclude'; sources: number[] } | undefined {
  if (include) return { mode: 'include', sources: include }
  return exclude && exclude.length > 0 ? { mode: 'exclude', sources: exclude } : undefined
}

function groupsOf(groups: number[]): { group: number; groups?: number[] } {
  return { group: groups[0]!, ...(groups.length > 1 ? { groups } : {}) }
}

export function leaveSchema(refs: References) {
  return mapping({
    id: stepId().exactOptional(),
    endpoint: refs.endpoints,
    group: refs.groups,
    hosts: refs.addresses.exactOptional(),
  }).transform(
    (leave): ReadStep =>
      readStep('leave', leave.id, {
        action: 'leave',
        pods: leave.endpoint,
        ...groupsOf(leave.group),
        ...(leave.hosts ? { hosts: leave.hosts } : {}),
      }),
  )
}
