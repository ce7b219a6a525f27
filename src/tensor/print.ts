/** Tensors as a person can read them: aligned columns, long axes shortened to their first and last three. */
import { type Shape, sizeOf } from './shape.js';

const edge = 3;
const longest = 8;

/** A number in up to five digits. */
export function formatNumber(value: number): string {
  if (Number.isInteger(value) || !Number.isFinite(value)) return String(value);
  const magnitude = Math.abs(value);
  return magnitude >= 1e6 || magnitude < 1e-4 ? value.toExponential(3) : String(Number(value.toPrecision(5)));
}

/** Values of a row-major array as nested brackets. */
export function formatTensor(data: ArrayLike<number>, shape: Shape): string {
  const visible = (size: number): (number | null)[] =>
    size <= longest
      ? Array.from({ length: size }, (_, i) => i)
      : [
          ...Array.from({ length: edge }, (_, i) => i),
          null,
          ...Array.from({ length: edge }, (_, i) => size - edge + i),
        ];
  let width = 0;
  const walk = (axis: number, offset: number, visit: (value: string) => string): string => {
    if (axis === shape.length) return visit(formatNumber(data[offset]!));
    const step = sizeOf(shape.slice(axis + 1));
    const parts = visible(shape[axis]!).map((i) => (i === null ? '…' : walk(axis + 1, offset + i * step, visit)));
    const innermost = axis === shape.length - 1;
    const gap = innermost ? ', ' : `,${'\n'.repeat(shape.length - 1 - axis)}${' '.repeat(axis + 1)}`;
    return `[${parts.join(gap)}]`;
  };
  if (sizeOf(shape) === 0) return `[] (empty, shape [${shape.join(', ')}])`;
  walk(0, 0, (text) => {
    width = Math.max(width, text.length);
    return text;
  });
  return walk(0, 0, (text) => (shape.length === 0 ? text : text.padStart(width)));
}

/** Rows as columns of equal width, the first `left` of them set to the left; columns that are empty are left out. */
export function formatTable(rows: readonly (readonly string[])[], left: number): string {
  const widths = rows[0]!.map((_, i) => Math.max(...rows.map((row) => row[i]!.length)));
  const line = (row: readonly string[]) =>
    row
      .map((cell, i) => (i < left ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)))
      .filter((_, i) => widths[i]! > 0)
      .join('  ')
      .trimEnd();
  const [head, ...body] = rows.map(line) as [string, ...string[]];
  return [head, '─'.repeat(Math.max(head.length, ...body.map(({ length }) => length))), ...body].join('\n');
}
