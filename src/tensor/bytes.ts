/**
 * Bytes in memory of their own, as Blob, Response and files take them. Compilers before TypeScript 5.7, which do not know
 * `Uint8Array<ArrayBuffer>`, read this as Uint8Array.
 */
export type Bytes = ReturnType<Uint8ArrayConstructor['of']>;

/** The bytes that a view is over: no copy. */
export const bytesOf = ({ buffer, byteOffset, byteLength }: ArrayBufferView): Bytes =>
  new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength);
