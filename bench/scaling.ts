/** A model of the time of a step against ranks and network: what is assumed stands here, and beside the tables. */

export interface Work {
  model: string;
  /** `parameterCount()`. */
  parameters: number;
  dim: number;
  /** Pairs that one machine encodes a second, forward and backward: the table of large batches. */
  pairsPerSecond: number;
}
export interface Network {
  name: string;
  /** Bytes a second that a rank receives. */
  bandwidth: number;
  /** Seconds from the start of a message to its arrival. */
  latency: number;
}

export const works: readonly Work[] = [
  { model: 'RN50', parameters: 102_007_137, dim: 1024, pairsPerSecond: 0.92 },
  { model: 'ViT-B-32', parameters: 151_277_313, dim: 512, pairsPerSecond: 1.19 },
];
/** Nine tenths of the line. */
export const networks: readonly Network[] = [
  { name: '1 Gbit/s, 50 µs', bandwidth: 0.9e9 / 8, latency: 50e-6 },
  { name: '10 Gbit/s, 20 µs', bandwidth: 9e9 / 8, latency: 20e-6 },
  { name: '100 Gbit/s, 2 µs', bandwidth: 90e9 / 8, latency: 2e-6 },
];

/** Cores of a rank: those of the machine that was measured, and of a server, as many times as fast. */
export const cores = [2, 32] as const;

/** Measured on the machine that is the model's rank. */
export interface Local {
  /** Of a sum over two ranks in one memory, for each byte of the data: copying, sending and adding up. */
  secondsPerByte: number;
  /** Of AdamW for each parameter. */
  secondsPerParameter: number;
}

/** Bytes that are summed in one message. */
const message = 2 ** 22;

/**
 * Seconds of a step of `pairs` pairs on so many ranks, each a machine of its own; nothing overlaps. Encoding is divided; the update, and what
 * a sum does besides waiting for the network, is not.
 */
export function stepSeconds(
  { parameters, dim, pairsPerSecond }: Work,
  { bandwidth, latency }: Network,
  { secondsPerByte, secondsPerParameter }: Local,
  { pairs, cores: own, ranks }: { pairs: number; cores: number; ranks: number },
): number {
  const alone = pairs / (pairsPerSecond * (own / cores[0])) / ranks + parameters * secondsPerParameter;
  if (ranks === 1) return alone;
  const gradients = 4 * parameters;
  // Embeddings and answers of both towers, there and back; gradients scattered and gathered: the table of docs/scale.md.
  const received = (8 * 4 * pairs * dim + 2 * gradients) * ((ranks - 1) / ranks);
  // A rank starts ranks − 1 messages in each collective; each is preceded by a comparison but for those of one sum.
  const collectives = 2 * Math.ceil(gradients / message) + 2 * 8 + 3;
  return alone + received / bandwidth + collectives * (ranks - 1) * latency + gradients * secondsPerByte;
}

export const rankCounts = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512] as const;

/** The most ranks that are still worth it: twice as many as before do at least 1.5 times as much. */
export function paysUpTo(seconds: readonly number[]): number {
  const stop = seconds.findIndex((time, i) => i > 0 && seconds[i - 1]! / time < 1.5);
  return rankCounts[stop < 0 ? rankCounts.length - 1 : stop - 1]!;
}
