import { classicFilter, type Instruction } from '../generators/linux/classic-filter.ts'

const LOAD_WORD = 0x20
const LOAD_HALF = 0x28
const LOAD_BYTE = 0x30
const JUMP = 0x05
const JUMP_IF_EQUAL = 0x15
const RETURN = 0x06
/** SKF_AD_OFF + SKF_AD_IFINDEX: what the kernel keeps beside the frame. */
const INTERFACE_INDEX = 0xffff_f008
const WHOLE_FRAME = 0x4_0000
const TCP = 6

/**
 * Only frames of these interfaces, for a ring that is bound to none: one ring and one file, whatever else the host has. Without
 * TCP: what the runner itself says to this machine would come back as capture.
 */
export function interfaceFilter(indices: readonly number[], options: { withoutTcp: boolean }): Uint8Array {
  const rest = options.withoutTcp ? WITHOUT_TCP : [ACCEPT]
  // Conditional jumps reach 255 instructions, plain ones any number.
  const choices = indices.flatMap((index, i): Instruction[] => [
    [JUMP_IF_EQUAL, 0, 1, index],
    [JUMP, 0, 0, 2 * (indices.length - i) - 1],
  ])
  return classicFilter([[LOAD_WORD, 0, 0, INTERFACE_INDEX], ...choices, REFUSE, ...rest])
}

const REFUSE: Instruction = [RETURN, 0, 0, 0]
const ACCEPT: Instruction = [RETURN, 0, 0, WHOLE_FRAME]

const WITHOUT_TCP: readonly Instruction[] = [
  [LOAD_HALF, 0, 0, 12],
  [JUMP_IF_EQUAL, 0, 2, 0x0800],
  [LOAD_BYTE, 0, 0, 14 + 9],
  [JUMP_IF_EQUAL, 3, 4, TCP],
  [JUMP_IF_EQUAL, 0, 3, 0x86dd],
  [LOAD_BYTE, 0, 0, 14 + 6],
  [JUMP_IF_EQUAL, 0, 1, TCP],
  REFUSE,
  ACCEPT,
]
