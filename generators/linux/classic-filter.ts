/** `struct sock_filter`: code, jump if true, jump if false, operand. */
export type Instruction = readonly [code: number, jumpTrue: number, jumpFalse: number, k: number]

const INSTRUCTION_BYTES = 8

/** A program of classic BPF as `SO_ATTACH_FILTER` takes it. */
export function classicFilter(instructions: readonly Instruction[]): Uint8Array {
  const program = Buffer.alloc(instructions.length * INSTRUCTION_BYTES)
  for (const [i, [code, jumpTrue, jumpFalse, k]] of instructions.entries()) {
    const at = i * INSTRUCTION_BYTES
    program.writeUInt16LE(code, at)
    program.writeUInt8(jumpTrue, at + 2)
    program.writeUInt8(jumpFalse, at + 3)
    program.writeUInt32LE(k, at + 4)
  }
  return program
}
