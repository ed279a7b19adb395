import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { UserError } from './errors.ts'
import { readSource } from './files.ts'
import { NEEDS, timerShape } from './header-schema.ts'
import { userErrors } from './issues.ts'
import { bool, found, isMapping, leaf, mapping, oneOf, text } from './leaf.ts'
import {
  type QuerierTimers,
  ROUTER_EXPORTERS,
  ROUTER_MULTICAST,
  type RouterSetup,
  type Settings,
} from './plan-types.ts'
import { didYouMean } from './suggest.ts'

/** What profiles add up to: `default`, then the target's own, then those asked for, the later winning key by key. */
export interface Profile {
  names: string[]
  /** Filter expressions, all of which a case must pass. */
  cases: string[]
  timers: QuerierTimers
  router: RouterSetup
  /** Needs of cases that the target, so set up, does not serve, with the reason; `false` where a later profile does serve it. */
  lacks: Record<string, string | false>
  settings: Settings
}

/** Defaults of RFC 3376 §8; profiles scale them. */
const RFC3376_TIMERS: QuerierTimers = {
  robustness: 2,
  queryIntervalMs: 125_000,
  queryResponseIntervalMs: 10_000,
  lastMemberQueryIntervalMs: 1000,
  version: 3,
}

const ms = leaf<number>({ type: 'number', exclusiveMinimum: 0 }, (value, problem) =>
  typeof value === 'number' && value > 0
    ? value
    : problem('out-of-range', `expected milliseconds above 0, ${found(value)}`),
)

const policy = leaf<Record<string, string>>(
  { type: 'object', additionalProperties: { type: 'string' } },
  (value, problem) => {
    const entries = isMapping(value) ? Object.entries(value) : undefined
    if (!entries)
      return problem('wrong-type', `expected a mapping of declarations, ${found(value)}`, 'policy: { ttl: unchanged }')
    for (const [name, text] of entries)
      if (typeof text !== 'string') problem('wrong-type', `expected text, ${found(text)}`, 'quote it', [name])
    return Object.fromEntries(entries) as Record<string, string>
  },
)

const lacks = leaf<Profile['lacks']>({ type: 'object' }, (value, problem) => {
  const entries = isMapping(value) ? Object.entries(value) : []
  for (const [need, reason] of entries) {
    if (!(need in NEEDS))
      problem('unknown-need', `no capability \`${need}\``, didYouMean(need, Object.keys(NEEDS)), [need])
    else if (typeof reason !== 'string' && reason !== false)
      problem('wrong-type', `expected a reason or false, ${found(reason)}`, undefined, [need])
  }
  return Object.fromEntries(entries) as Profile['lacks']
})

/** `suites/profiles/NAME.yaml`. */
export const profileSchema = mapping({
  castproof: oneOf([1]),
  profile: text('the name'),
  about: text(),
  cases: text('a filter expression').exactOptional(),
  timers: mapping(timerShape).exactOptional(),
  router: mapping({
    multicast: oneOf(ROUTER_MULTICAST).exactOptional(),
    exporter: oneOf(ROUTER_EXPORTERS).exactOptional(),
  }).exactOptional(),
  lacks: lacks.exactOptional(),
  policy: policy.exactOptional(),
  timing: mapping({
    enforced: bool().exactOptional(),
    latencyMs: ms.exactOptional(),
    joinDelayMs: ms.exactOptional(),
    leaveDelayMs: ms.exactOptional(),
  }).exactOptional(),
  allowWeakerFence: bool().exactOptional(),
})

/** Profiles of `suites/profiles/` by name, or files. */
export function loadProfile(
  target: string,
  asked: readonly string[],
  suites: string,
): { profile: Profile; errors: UserError[] } {
  const folder = join(suites, 'profiles')
  const own = existsSync(join(folder, `${target}.yaml`)) ? [target] : []
  const errors: UserError[] = []
  const profile: Profile = {
    names: [],
    cases: [],
    timers: RFC3376_TIMERS,
    router: { multicast: 'static', exporter: 'reference' },
    lacks: {},
    settings: { policy: {}, timing: { enforced: false }, allowWeakerFence: true },
  }
  for (const name of ['default', ...own, ...asked]) {
    const path = profilePath(name, folder)
    if (path instanceof UserError) errors.push(path)
    else errors.push(...applyProfile(profile, name, path))
  }
  return { profile, errors }
}

function profilePath(name: string, folder: string): string | UserError {
  if (/\.ya?ml$/.test(name))
    return existsSync(name) ? name : new UserError('no-such-file', `there is no profile file ${name}`)
  const path = join(folder, `${name}.yaml`)
  if (/^[\w-]+$/.test(name) && existsSync(path)) return path
  const known = existsSync(folder) ? readdirSync(folder).map(file => file.replace(/\.yaml$/, '')) : []
  return new UserError('unknown-profile', `no profile has the name \`${name}\``, {
    hint: `${didYouMean(name, known)} (or the path of a .yaml file)`,
  })
}

function applyProfile(profile: Profile, name: string, path: string): UserError[] {
  const { source, errors } = readSource(path)
  if (!source) return errors
  const given = profileSchema.safeParse(source.value)
  if (!given.success) return userErrors(given.error, source)
  const { cases, timers, router, lacks, policy, timing, allowWeakerFence } = given.data
  profile.names.push(name)
  if (cases !== undefined) profile.cases.push(cases)
  profile.timers = { ...profile.timers, ...(timers as Partial<QuerierTimers>) }
  profile.router = { ...profile.router, ...(router as Partial<RouterSetup>) }
  profile.lacks = { ...profile.lacks, ...lacks }
  profile.settings = {
    policy: { ...profile.settings.policy, ...policy },
    timing: { ...profile.settings.timing, ...timing },
    allowWeakerFence: allowWeakerFence ?? profile.settings.allowWeakerFence,
  }
  return []
}
