import type { MemoryInfo } from './device.js';

/** What lives on a device: how many storages, of how many bytes, and the most bytes there ever were. */
export class MemoryAccount {
  liveBytes = 0;
  peakBytes = 0;
  storages = 0;

  add(bytes: number): void {
    this.liveBytes += bytes;
    this.storages++;
    if (this.liveBytes > this.peakBytes) this.peakBytes = this.liveBytes;
  }

  remove(bytes: number): void {
    this.liveBytes -= bytes;
    this.storages--;
  }

  /** @param reservedBytes where the device takes more from the system than is live */
  info(reservedBytes = this.liveBytes): MemoryInfo {
    const { liveBytes, peakBytes, storages } = this;
    return { liveBytes, peakBytes, storages, reservedBytes };
  }
}
