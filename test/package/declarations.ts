/** The packed package's declarations, read by the compilers that people have. */
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { installOrSkip, manifest, type Packed, root, run } from './packed.js';

interface App {
  packed: Packed;
  /** A folder where the package and what it depends on are installed. */
  app: string;
  link(name: string): void;
}

/** Installed apart: as packages of this repository they would take the place of its own `tsc`. */
const others = { 'typescript-5.4': 'npm:typescript@~5.4.5', 'typescript-5.9': 'npm:typescript@~5.9.3' };

/** Subclasses, as a library has them, and every entry of the package. */
const library = `import { type Tensor, tensor } from 'hopgrad';
import { type Batch, Loader, decode } from 'hopgrad/data';
import { loadCheckpoint } from 'hopgrad/models/cloob';
import { Linear, Module } from 'hopgrad/nn';
import { checkGradients, tensors } from 'hopgrad/testing';
export * as everything from './everything.js';
export class Twice extends Linear {
  override forward(x: Tensor): Tensor {
    return super.forward(x).mul(2);
  }
}
export class Own extends Module {
  readonly inner = new Twice(2, 2);
  forward(x: Tensor): Tensor {
    return this.inner.forward(x).add(tensor([1, 2]));
  }
}
export const used = [Loader, decode, loadCheckpoint, checkGradients, tensors];
export type Used = Batch;
`;

export function declarations(given: () => App): void {
  describe('its declarations', () => {
    const documented = [0, 1, 2].map((i) => `documented-${i}.ts`);
    /** What a compiler says; nothing when it is content. `home` holds its package. */
    const tsc = (home: string, compiler: string, ...args: string[]) => {
      const path = join(home, 'node_modules', compiler, 'bin/tsc');
      try {
        return run(process.execPath, [path, '--noEmit', '--strict', '--skipDefaultLibCheck', ...args], given().app);
      } catch (error) {
        return (error as { stdout: string }).stdout;
      }
    };

    before(() => {
      const { app } = given();
      const paths = Object.keys(manifest.exports).filter((path) => path !== './package.json');
      const exported = paths.map((path, i) => `export * as path${i} from 'hopgrad${path.slice(1)}';`);
      writeFileSync(join(app, 'everything.ts'), exported.join('\n'));
      writeFileSync(join(app, 'library.ts'), library);
      const programs = (page: string) =>
        [...readFileSync(join(root, page), 'utf8').matchAll(/```ts\n([\s\S]*?)```/g)].map(([, program]) => program!);
      const [tenLines] = programs('README.md');
      const [smallest, trained] = programs('docs/bundlers.md');
      for (const [i, program] of [tenLines, smallest, trained].entries())
        writeFileSync(join(app, `documented-${i}.ts`), program!);
    });

    const check = (home: () => string, compiler: string) => {
      for (const module of ['node16', 'nodenext', 'bundler'])
        it(`compile with ${compiler}, module ${module}, without Node's types and with every library checked`, () => {
          const resolved = module === 'bundler' ? ['esnext', '--moduleResolution', 'bundler'] : [module];
          const options = ['--target', 'es2022', '--noImplicitOverride', '--module', ...resolved];
          assert.equal(tsc(home(), compiler, ...options, 'library.ts', ...documented), '');
        });
    };

    check(() => root, 'typescript');

    describe('of other versions', () => {
      let home: string;
      before(function () {
        home = join(given().packed.folder, 'compilers');
        mkdirSync(home);
        installOrSkip.call(this, home, { dependencies: others });
      });
      for (const compiler of Object.keys(others)) check(() => home, compiler);
    });

    it("give fast-check's own types where it is there, and compile where it is not", () => {
      const { app, link } = given();
      writeFileSync(
        join(app, 'properties.ts'),
        `import { tensors } from 'hopgrad/testing';
export const drawn: number = tensors();`,
      );
      const options = ['--target', 'es2022', '--module', 'nodenext'];
      assert.equal(tsc(root, 'typescript', ...options, 'properties.ts'), '', 'any');
      link('fast-check');
      const told = tsc(root, 'typescript', ...options, 'properties.ts');
      assert.match(told, /'Arbitrary<Tensor.*' is not assignable to type 'number'/);
    });
  });
}
