/** Files of numpy.save: every type and order that NumPy itself wrote, and what is none. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { DataError } from 'hopgrad';
import { openNpy } from '#src/formats/npy.js';
import { fixture } from '../helpers.js';

const files: Record<string, { file: string; shape: number[]; values: number[] }> = JSON.parse(
  readFileSync(fixture('npy.json'), 'utf8'),
);
const bytes = (name: string) => new Uint8Array(Buffer.from(files[name]!.file, 'base64'));

describe('files of numpy.save', () => {
  const refused = {
    big: /largest byte first.*newbyteorder/,
    complex: /elements of type <c8.*numbers: f8/,
    text: /elements of type <U1/,
    objects: /elements of type \|O/,
    structure: /the header .*descr.*not a structure/,
    'fortran cube': /Fortran order of 3 axes/,
  };

  for (const [name, { shape, values }] of Object.entries(files))
    if (!(name in refused) && name !== 'beyond int32')
      it(`${name}: shape and numbers, row by row`, () => {
        const file = openNpy(bytes(name));
        assert.deepEqual(file.shape, shape);
        assert.deepEqual([...file.read()].map(Number), values);
      });

  for (const [name, message] of Object.entries(refused))
    it(`${name} is refused`, () => {
      assert.throws(
        () => openNpy(bytes(name)),
        (error) => error instanceof DataError && message.test(error.message),
      );
    });

  it('whole numbers beyond int32 are refused where they are read, by position', () => {
    const file = openNpy(bytes('beyond int32'));
    assert.throws(() => file.read(), /1099511627776 at position 0/);
  });

  /** The grid of f4 with another header. */
  const withHeader = (header: string, data = new Uint8Array(24)) => {
    const length = Buffer.alloc(2);
    length.writeUInt16LE(header.length);
    return new Uint8Array(
      Buffer.concat([Buffer.from('\x93NUMPY\x01\x00', 'latin1'), length, Buffer.from(header), data]),
    );
  };
  const good = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";

  it('headers of other order and without the last comma are read', () => {
    for (const header of [good, "{'shape':(2,3),'descr':'<f4','fortran_order':False}\n"])
      assert.deepEqual(openNpy(withHeader(header)).shape, [2, 3]);
  });

  for (const [what, header, message] of [
    ['code in it', "{'descr': __import__('os').system('x'), 'fortran_order': False, 'shape': (2, 3)}", /the header/],
    ['a key twice', good.replace('}', "'descr': '<f8'}"), /descr twice/],
    ['another key', good.replace('}', "'__proto__': 'x'}"), /the header/],
    ['no shape', "{'descr': '<f4', 'fortran_order': False}", /the header/],
    [
      'a shape of more elements than the file',
      good.replace('2, 3', '2000000000, 3'),
      /24 bytes of elements; expected 24000000000/,
    ],
    ['a shape beyond all numbers', good.replace('2, 3', '99999999999, 99999999999'), /the shape/],
    ['a negative shape', good.replace('2, 3', '-2, -3'), /the header/],
    ['text behind it', `${good} x`, /the header/],
  ] as const)
    it(`refuses a header with ${what}`, () => {
      assert.throws(
        () => openNpy(withHeader(header)),
        (error) => error instanceof DataError && message.test(error.message),
      );
    });

  it('refuses a header longer than NumPy would read, other versions, and files that end early', () => {
    assert.throws(() => openNpy(withHeader(good.padEnd(20_000))), /a header of 20000 bytes/);
    const whole = bytes('f4');
    const version9 = whole.slice();
    version9[6] = 9;
    assert.throws(() => openNpy(version9), /version 9/);
    for (let length = 0; length < whole.length; length++)
      assert.throws(() => openNpy(whole.subarray(0, length)), DataError, `${length} bytes`);
    assert.throws(() => openNpy(new Uint8Array([...whole, 0])), /25 bytes of elements; expected 24/);
    assert.throws(() => openNpy(new Uint8Array(Buffer.from('PK\x03\x04 and much more'))), /numpy.savez/);
  });
});
