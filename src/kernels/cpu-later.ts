/** In place of `cpu.ts` where `init` loads it. */
export const cpu = null;
