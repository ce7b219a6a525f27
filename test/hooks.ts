/** Around every file of tests. */
import { init } from 'hopgrad';

export const mochaHooks = {
  /** A process runs many files one after the other: each is loaded with the device that a fresh program has. */
  async afterAll(): Promise<void> {
    await init({ device: 'wasm' });
  },
};
