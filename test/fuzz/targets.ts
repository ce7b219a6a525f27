/** Everything that must give the same answers: devices, and the wasm device in each of its builds. */
import type { Device } from '#src/kernels/device.js';
import { registerDevice } from '#src/kernels/devices.js';
import { createWasmDevice, type WasmOptions } from '#src/kernels/wasm/load.js';
import { poison } from '#src/testing/empty-sums.js';
import type { Form, Program, Results } from './program.js';

export interface Target {
  label: string;
  form: Form;
  /** Whether it rounds as the languages of graphics allow. */
  graphics: boolean;
  /** Factor on the tolerance of float32. */
  scale?: number;
  /** Puts the device where programs find it by name, unless it is there. */
  use?(): void;
  /** Where programs run, if not here. */
  run?(program: Program, form: Form): Promise<Results>;
  /** Programs that are beyond what the device promises. */
  cannot?(program: Program, centre: Results): boolean;
}

const on = (device: string, dtype: Form['dtype']): Form => ({ text: 'text', dtype, device });

/** In float64. */
const double = (device: string): Target => ({
  label: `${device} in float64`,
  form: on(device, 'float64'),
  graphics: false,
  scale: 2 ** -24, // rounding is 2⁻²⁹ times as large; the rest is for sums in another order
  cannot: ({ inputs, lines, order }) =>
    order === 0 || // values beyond float32 are told from others there
    inputs.some(({ dtype, index }) => dtype === 'int32' && !index) ||
    lines.some(({ dtype }) => dtype === 'int32'),
});

export const reference: Target[] = [
  { label: 'reference in float32', form: on('reference', 'float32'), graphics: false },
  { label: 'reference with dtypes mixed', form: on('reference', 'own'), graphics: false },
  double('reference'),
];

/** Whole numbers of gpu.js devices are exact below 2²⁴, also inside sums. */
const largeIntegers = ({ inputs, lines }: Program, { values }: Results) => {
  const total = (data: readonly number[]) => data.reduce((sum, x) => sum + Math.abs(x), 0);
  return (
    inputs.some(({ dtype, data }) => dtype === 'int32' && total(data) >= 2 ** 24) ||
    lines.some(({ dtype }, i) => dtype === 'int32' && !(total(values[i]!) < 2 ** 24))
  );
};
export const gpu = (device: string, graphics = true): Target => ({
  label: device,
  form: on(device, 'float32'),
  graphics,
  cannot: largeIntegers,
});

/** The wasm device, made once in each build. */
export function wasmTargets(): Target[] {
  const builds: Record<string, WasmOptions> = {
    'wasm with three threads and fused multiply-add': { threads: 3, relaxed: true },
    'wasm with one thread': { threads: 1, relaxed: false },
    'wasm without threads, with fused multiply-add': { shared: false, relaxed: true },
    'wasm without threads': { shared: false, relaxed: false },
  };
  const use = (device: Device) => {
    registerDevice('wasm', device);
    poison(device); // what is not written is seen
  };
  return Object.entries(builds).flatMap(([label, options]) => {
    const device = createWasmDevice(options);
    const own = { use: () => use(device) };
    const single = { label, form: on('wasm', 'float32'), graphics: false, ...own };
    if (options.shared === false || options.threads === 1) return [single];
    // The text of a kernel is one for both dtypes, so these need not run on each build.
    const mixed = { label: 'wasm with dtypes mixed', form: on('wasm', 'own'), graphics: false, ...own };
    return [single, { ...double('wasm'), ...own }, mixed];
  });
}
