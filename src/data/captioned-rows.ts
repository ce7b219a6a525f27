/** What tables, JSON lines and COCO files share: captioned pictures become rows, and what is wrong with some is told. */
import { resolve } from 'node:path';
import { printable } from '../tensor/errors.js';
import { type BadRow, captioned, listSource, type Row, type Source } from './source.js';

/** Counts of what should be told, with the first place of each. */
export class Tally {
  readonly #counts = new Map<string, { count: number; first: string }>();

  add(what: string, first: string): void {
    const seen = this.#counts.get(what);
    if (seen) seen.count++;
    else this.#counts.set(what, { count: 1, first });
  }

  tell(what: string, say: (count: number, first: string) => void): void {
    const seen = this.#counts.get(what);
    if (seen) say(seen.count, seen.first);
  }
}

/** Collects the rows of one file. Several captions of one picture are rows of one group: no negatives of each other. */
export class CaptionedRows {
  readonly #path: string;
  readonly #folder: string;
  readonly #rows: (Row | BadRow)[] = [];
  readonly #tally = new Tally();

  /** @param folder what paths of pictures are relative to */
  constructor(path: string, folder: string) {
    this.#path = path;
    this.#folder = folder;
  }

  get size(): number {
    return this.#rows.length;
  }

  /** A picture with a caption. @param place such as "line 7" @param mark behind the file's name in the row's own: ":7" */
  add(place: string, mark: string, image: string, caption: string): void {
    const file = resolve(this.#folder, image);
    const name = this.#name(`${mark} (${image})`);
    if (!image) this.addBad(place, `${mark} (no path)`, 'no picture path');
    else this.#push(place, captioned({ index: this.size, name, image: { path: file }, caption, group: file }));
  }

  /** A row that cannot be used. */
  addBad(place: string, mark: string, bad: string): void {
    this.#push(place, { index: this.size, name: this.#name(mark), bad });
  }

  /** All rows as a source. @param say where the number of bad ones is told */
  source(say: (text: string) => void): Source & { size: number } {
    this.#tally.tell('bad', (count, first) =>
      say(`${count} of ${this.size} rows cannot be used, the first in ${first}`),
    );
    return listSource(this.#path, this.#rows);
  }

  #name(mark: string): string {
    return printable(`${this.#path}${mark}`, 500);
  }

  #push(place: string, row: Row | BadRow): void {
    if ('bad' in row) this.#tally.add('bad', `${place}: ${row.bad}`);
    this.#rows.push(row);
  }
}
