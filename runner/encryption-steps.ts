import type { Action } from './suite/plan-types.ts'
import type { SiteEncryption } from './target/target.ts'

type ActionOf<Name extends Action['action']> = Extract<Action, { action: Name }>

export async function switchEncryption(encryption: SiteEncryption, step: ActionOf<'encryption'>): Promise<void> {
  switch (step.do) {
    case 'on':
      return encryption.switchOn(step.nodes)
    case 'off':
      return encryption.switchOff(step.nodes)
    case 'forget':
      return encryption.forget(step.nodes)
    case 'reboot':
      return encryption.reboot(step.nodes)
    case 'rotate-begin':
      return encryption.beginRotation()
    case 'rotate-end':
      return encryption.endRotation()
    case 'rotate':
      await encryption.beginRotation()
      return encryption.endRotation()
  }
}

export async function changeXfrm(encryption: SiteEncryption, step: ActionOf<'xfrm'>): Promise<void> {
  if (step.do === 'sequence') return encryption.setSequence(step)
  return step.do === 'lose-states' ? encryption.loseStates(step) : encryption.losePolicies(step)
}
