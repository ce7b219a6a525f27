/** The MPIJob of docs/scale.md is one that the operator accepts, and starts what hopgrad understands. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import * as v from 'valibot';
import { parse } from 'yaml';
import { addTrainCommand } from '#src/cli/train.js';

const count = v.pipe(v.number(), v.integer(), v.minValue(0));
const label = v.pipe(v.string(), v.regex(/^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/), v.maxLength(63));
const quantity = v.pipe(v.string(), v.regex(/^\d+(\.\d+)?(m|[kMGTPE]i?)?$/));
const resources = v.record(v.picklist(['cpu', 'memory', 'ephemeral-storage']), quantity);

/** Of a pod what the manifest uses; every other field is refused, as `kubectl --validate=strict` refuses those that there are not. */
const pod = v.strictObject({
  metadata: v.optional(v.strictObject({ labels: v.record(v.string(), v.string()) })),
  spec: v.strictObject({
    containers: v.pipe(
      v.array(
        v.strictObject({
          name: label,
          image: v.pipe(v.string(), v.nonEmpty()),
          command: v.array(v.string()),
          args: v.array(v.string()),
          securityContext: v.optional(v.strictObject({ runAsUser: count })),
          resources: v.strictObject({ limits: resources, requests: v.optional(resources) }),
          volumeMounts: v.optional(
            v.array(v.strictObject({ name: label, mountPath: v.pipe(v.string(), v.startsWith('/')) })),
          ),
        }),
      ),
      v.minLength(1),
    ),
    volumes: v.optional(
      v.array(v.strictObject({ name: label, persistentVolumeClaim: v.strictObject({ claimName: label }) })),
    ),
  }),
});

const replicas = (least: number, most: number) =>
  v.strictObject({
    replicas: v.pipe(count, v.minValue(least), v.maxValue(most)),
    restartPolicy: v.picklist(['Never', 'OnFailure']),
    template: pod,
  });

/**
 * An MPIJob as the operator takes it: the fields of its types, all of them, and the rules that it checks besides.
 * @source kubeflow/mpi-operator, pkg/apis/kubeflow/v2beta1/types.go and pkg/apis/kubeflow/validation/validation.go
 */
const mpiJob = v.strictObject({
  apiVersion: v.literal('kubeflow.org/v2beta1'),
  kind: v.literal('MPIJob'),
  metadata: v.strictObject({
    name: v.pipe(label, v.maxLength(63 - '-worker-99'.length)), // pods are named after it
    namespace: v.optional(label),
    labels: v.optional(v.record(v.string(), v.string())),
  }),
  spec: v.strictObject({
    slotsPerWorker: v.optional(count),
    sshAuthMountPath: v.optional(v.pipe(v.string(), v.startsWith('/'))),
    waitForWorkers: v.optional(v.boolean()),
    mpiImplementation: v.optional(v.picklist(['OpenMPI', 'Intel'])),
    runPolicy: v.optional(
      v.strictObject({
        cleanPodPolicy: v.optional(v.picklist(['None', 'Running', 'All'])),
        ttlSecondsAfterFinished: v.optional(count),
        activeDeadlineSeconds: v.optional(count),
        backoffLimit: v.optional(count),
        suspend: v.optional(v.boolean()),
        schedulingPolicy: v.optional(
          v.strictObject({
            minAvailable: v.optional(count),
            queue: v.optional(v.string()),
            minResources: v.optional(resources),
            priorityClass: v.optional(v.string()),
            scheduleTimeoutSeconds: v.optional(count),
          }),
        ),
      }),
    ),
    mpiReplicaSpecs: v.strictObject({ Launcher: replicas(1, 1), Worker: replicas(1, 100) }),
  }),
});

describe('the MPIJob of docs/scale.md', () => {
  const page = readFileSync(new URL('../../../docs/scale.md', import.meta.url), 'utf8');
  const text = page.match(/```yaml\n(.*?)```/s)![1]!;
  const checked = (manifest: string) => v.safeParse(mpiJob, parse(manifest, { strict: true, uniqueKeys: true }));
  const job = () => v.parse(mpiJob, parse(text));

  /** The words that the launcher's shell runs. */
  const launched = () =>
    job()
      .spec.mpiReplicaSpecs.Launcher.template.spec.containers[0]!.args.join(' ')
      .split(/\s+/)
      .map((word) => word.replace(/^'(.*)'$/, '$1'));

  it('has the fields that there are, with values that the operator takes', () => {
    const { issues } = checked(text);
    assert.equal(issues, undefined, JSON.stringify(issues && v.flatten(issues as never)));
  });

  it('would be refused with a field misspelt, missing, or out of range', () => {
    for (const [from, to] of [
      ['v2beta1', 'v1'],
      ['slotsPerWorker', 'slotsPerWorkers'],
      ['cleanPodPolicy: Running', 'cleanPodPolicy: Never'],
      ['restartPolicy: Never', 'restartPolicy: Always'],
      ['replicas: 1', 'replicas: 2'],
      ['command: [sh, -c]', 'command: sh -c'],
      ['mountPath', 'path'],
      ['cpu: "8"', 'cpu: eight'],
    ] as const) {
      assert.ok(text.includes(from), from);
      assert.equal(checked(text.replace(from, to)).success, false, to);
    }
  });

  it('has a slot for every rank, a volume for every mount, and as many threads as cores', () => {
    const { Worker } = job().spec.mpiReplicaSpecs;
    const args = launched();
    const flag = (name: string) => args[args.indexOf(name) + 1];
    assert.equal(Number(flag('-n')), Worker.replicas * job().spec.slotsPerWorker!);
    const { containers, volumes } = Worker.template.spec;
    const [worker] = containers;
    assert.deepEqual(
      worker!.volumeMounts!.map(({ name }) => name),
      volumes!.map(({ name }) => name),
    );
    assert.equal(flag('--wdir'), worker!.volumeMounts![0]!.mountPath);
    assert.equal(flag('--threads'), worker!.resources.limits.cpu);
    assert.equal(Number(flag('--batch-size')) % Number(flag('-n')), 0);
  });

  it('starts hopgrad with flags that it has', () => {
    const args = launched();
    const program = new Command();
    addTrainCommand(program);
    const command = program.commands[0]!;
    const given = args.slice(args.indexOf('hopgrad') + 1);
    assert.equal(given.shift(), command.name());
    assert.deepEqual(command.parseOptions(given), { operands: [], unknown: [] });
    assert.deepEqual(command.parseOptions(['--batchsize', '4']).unknown, ['--batchsize', '4']);
  });
});
