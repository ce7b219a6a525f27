/** Where the entries of a zip archive lie, by the package yauzl. */
import { DataError, printable } from '../tensor/errors.js';
import type { ByteSource } from './files.js';

export interface ZipEntry {
  start: number;
  size: number;
  /** Not compressed. */
  stored: boolean;
  crc32: number;
}

/**
 * Where the bytes of every entry are, by name.
 * @throws DataError for a damaged archive, a name twice, or entries that overlap
 */
export async function zipEntries(op: string, source: ByteSource): Promise<Map<string, ZipEntry>> {
  const entries = new Map<string, ZipEntry>();
  const fail = (received: string, expected = 'a complete zip archive'): never => {
    throw new DataError(op, { received: `${source.name}: ${received}`, expected });
  };
  const zip = await openZip(op, source);
  let total = 0;
  try {
    for await (const entry of zip.eachEntry()) {
      const { fileName: name, compressedSize, uncompressedSize: size } = entry;
      const { fileDataStart: start } = await zip.readLocalFileHeaderPromise(entry, { minimal: true });
      if (entries.has(name)) fail(`entry ${printable(name)} twice`);
      total += compressedSize;
      if (total > source.size) fail(`entries of ${total} bytes in a file of ${source.size}`);
      entries.set(name, { start, size, stored: entry.compressionMethod === 0, crc32: entry.crc32 });
    }
  } catch (error) {
    fail((error as Error).message);
  } finally {
    zip.close();
  }
  return entries;
}

/**
 * The archive, read through our own reads: these check every position and answer at once, so that nothing fails inside a
 * callback of the file system, where nobody could catch it.
 */
async function openZip(op: string, source: ByteSource) {
  const { fromRandomAccessReaderPromise, RandomAccessReader } = await import('#yauzl').catch((error: Error) => {
    throw new DataError(op, {
      received: `${source.name}: no reader of zip archives here (${error.message.split('\n')[0]})`,
      expected: 'Node, to read files of torch.save',
      hint: 'Convert it there: npx hopgrad convert weights.pt weights.safetensors.',
    });
  });
  class Reader extends RandomAccessReader {
    override read(
      buffer: Buffer,
      offset: number,
      length: number,
      position: number,
      callback: (error: Error | null, count?: number) => void,
    ): void {
      let failure: Error | null = null;
      try {
        buffer.set(source.read(position, length), offset);
      } catch (error) {
        failure = error as Error;
      }
      callback(failure, length);
    }
  }
  return fromRandomAccessReaderPromise(new Reader(), source.size, {}).catch((error: Error) => {
    throw new DataError(op, { received: `${source.name}: ${error.message}`, expected: 'a complete zip archive' });
  });
}
