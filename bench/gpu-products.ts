/**
 * What gpu.js's model of a kernel costs in the matrix product: its two texts against WGSL written by hand, with one
 * result a thread, with tiles in the memory that a workgroup shares, and with 4 × 4 results a thread.
 */
import type { Device, Storage } from '#src/kernels/device.js';
import { type GPUBufferLike, type GPUDeviceLike, loadGpuJs } from '#src/kernels/gpu/module.js';
import { SourceDevice } from '#src/kernels/source-device.js';

/** What WebGPU has beyond the parts that the library itself uses. */
interface WebGpu extends GPUDeviceLike {
  createShaderModule(settings: { code: string }): unknown;
  createComputePipeline(settings: object): { getBindGroupLayout(index: number): unknown };
}

const bindings = (type: string) => `
@group(0) @binding(0) var<storage, read> a : array<f32>;
@group(0) @binding(1) var<storage, read> b : array<${type}>;
@group(0) @binding(2) var<storage, read_write> c : array<${type}>;`;

/** C = A B of n × n matrices, each as [WGSL, workgroups along x and y]. */
const byHand: Record<string, (n: number) => [string, number]> = {
  'WGSL, one result a thread': (n) => [
    `${bindings('f32')}
    @compute @workgroup_size(8, 8) fn main(@builtin(global_invocation_id) g : vec3<u32>) {
      var sum = 0.0;
      for (var i = 0u; i < ${n}u; i++) { sum += a[g.y * ${n}u + i] * b[i * ${n}u + g.x]; }
      c[g.y * ${n}u + g.x] = sum;
    }`,
    n / 8,
  ],
  'WGSL, one result, 16 × 16 tiles shared': (n) => [
    `${bindings('f32')}
    var<workgroup> tileA : array<f32, 256>;
    var<workgroup> tileB : array<f32, 256>;
    @compute @workgroup_size(16, 16)
    fn main(@builtin(global_invocation_id) g : vec3<u32>, @builtin(local_invocation_id) l : vec3<u32>) {
      var sum = 0.0;
      for (var t = 0u; t < ${n / 16}u; t++) {
        tileA[l.y * 16u + l.x] = a[g.y * ${n}u + t * 16u + l.x];
        tileB[l.y * 16u + l.x] = b[(t * 16u + l.y) * ${n}u + g.x];
        workgroupBarrier();
        for (var i = 0u; i < 16u; i++) { sum += tileA[l.y * 16u + i] * tileB[i * 16u + l.x]; }
        workgroupBarrier();
      }
      c[g.y * ${n}u + g.x] = sum;
    }`,
    n / 16,
  ],
  'WGSL, 4 × 4 results a thread': (n) => [
    `${bindings('vec4<f32>')}
    @compute @workgroup_size(8, 8) fn main(@builtin(global_invocation_id) g : vec3<u32>) {
      var sum = array<vec4<f32>, 4>();
      for (var i = 0u; i < ${n}u; i++) {
        let row = b[i * ${n / 4}u + g.x];
        ${[0, 1, 2, 3].map((r) => `sum[${r}] += a[(g.y * 4u + ${r}u) * ${n}u + i] * row;`).join('\n')}
      }
      ${[0, 1, 2, 3].map((r) => `c[(g.y * 4u + ${r}u) * ${n / 4}u + g.x] = sum[${r}];`).join('\n')}
    }`,
    n / 32,
  ],
  'WGSL, 4 × 4 results, 32 × 32 tiles shared': (n) => [
    `${bindings('vec4<f32>')}
    var<workgroup> tileA : array<f32, 1024>;
    var<workgroup> tileB : array<vec4<f32>, 256>;
    @compute @workgroup_size(8, 8)
    fn main(@builtin(workgroup_id) w : vec3<u32>, @builtin(local_invocation_id) l : vec3<u32>) {
      var sum = array<vec4<f32>, 4>();
      for (var t = 0u; t < ${n / 32}u; t++) {
        for (var r = 0u; r < 4u; r++) {
          let y = l.y * 4u + r;
          for (var s = 0u; s < 4u; s++) {
            tileA[y * 32u + l.x * 4u + s] = a[(w.y * 32u + y) * ${n}u + t * 32u + l.x * 4u + s];
          }
          tileB[y * 8u + l.x] = b[(t * 32u + y) * ${n / 4}u + w.x * 8u + l.x];
        }
        workgroupBarrier();
        for (var i = 0u; i < 32u; i++) {
          let row = tileB[i * 8u + l.x];
          ${[0, 1, 2, 3].map((r) => `sum[${r}] += tileA[(l.y * 4u + ${r}u) * 32u + i] * row;`).join('\n')}
        }
        workgroupBarrier();
      }
      ${[0, 1, 2, 3].map((r) => `c[(w.y * 32u + l.y * 4u + ${r}u) * ${n / 4}u + w.x * 8u + l.x] = sum[${r}];`).join('\n')}
    }`,
    n / 32,
  ],
};

/** The variants for n × n matrices (n a multiple of 32), each of which gives the sum of its result. */
export async function productVariants(
  device: Device,
  n: number,
): Promise<{ name: string; run: () => Promise<number> }[]> {
  const { WebGPUContext } = (await loadGpuJs()) as unknown as {
    WebGPUContext: { acquire(): Promise<{ device: WebGpu }> };
  };
  const { device: gpu } = await WebGPUContext.acquire();
  const data = [1, 2].map((seed) => Float32Array.from({ length: n * n }, (_, i) => ((i * 7 * seed) % 11) - 5));
  const [a, b] = data.map((values) => device.upload(values)) as [Storage, Storage];
  const spec = {
    ...{ batch: 1, m: n, n, k: n, transposeA: false, transposeB: false, broadcastA: false, broadcastB: false },
  };
  const total = (values: ArrayLike<number>) => Array.from(values).reduce((sum, value) => sum + value, 0);
  const ours = (product: () => Storage) => async () => {
    const c = product();
    const values = await device.read(c);
    c.free();
    return total(values);
  };
  const oneResult = SourceDevice.prototype.matmul;
  return [
    { name: 'gpu.js, one result a thread', run: ours(() => oneResult.call(device as SourceDevice, a, b, spec)) },
    { name: 'gpu.js, 8 × 8 results a thread, by a function in WGSL', run: ours(() => device.matmul(a, b, spec)) },
    ...Object.entries(byHand).map(([name, write]) => ({ name, run: inWgsl(gpu, data, n, ...write(n)) })),
  ];

  function inWgsl(webgpu: WebGpu, inputs: Float32Array[], size: number, code: string, groups: number) {
    const bytes = 4 * size * size;
    const usage = { storage: 0x80 | 0x04 | 0x08, staging: 0x01 | 0x08 };
    const buffers = [0, 1, 2].map((i) => {
      const buffer = webgpu.createBuffer({ size: bytes, usage: usage.storage });
      if (inputs[i]) webgpu.queue.writeBuffer(buffer, 0, inputs[i]);
      return buffer;
    }) as [GPUBufferLike, GPUBufferLike, GPUBufferLike];
    const module = webgpu.createShaderModule({ code });
    const pipeline = webgpu.createComputePipeline({ layout: 'auto', compute: { module, entryPoint: 'main' } });
    const entries = buffers.map((buffer, binding) => ({ binding, resource: { buffer } }));
    const group = webgpu.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries });
    const staging = webgpu.createBuffer({ size: bytes, usage: usage.staging });
    return async () => {
      const encoder = webgpu.createCommandEncoder();
      const pass = encoder.beginComputePass();
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, group);
      pass.dispatchWorkgroups(groups, groups, 1);
      pass.end();
      encoder.copyBufferToBuffer(buffers[2], 0, staging, 0, bytes);
      webgpu.queue.submit([encoder.finish()]);
      await staging.mapAsync(1, 0, bytes);
      const values = new Float32Array(staging.getMappedRange(0, bytes).slice(0));
      staging.unmap();
      return total(values);
    };
  }
}
