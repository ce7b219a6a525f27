import { strict as assert } from 'node:assert';
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { DataError, Random } from 'hopgrad';
import { decode, type Picture } from '#src/data/decode.js';
import { type Box, resizeBicubic } from '#src/data/resample.js';
import { cropTransform, evalTransform, normaliser, randomCropBox, trainTransform } from '#src/data/transforms.js';
import { fixture, property } from '../helpers.js';

interface Golden {
  eval: { file: string; size: number; pixels: string }[];
  crop: { file: string; size: number; box: Box; pixels: string }[];
  boxes: { width: number; height: number; scale: [number, number]; uniform: number[]; box: Box }[];
  normalised: string;
}
const golden = JSON.parse(readFileSync(fixture('images/golden.json'), 'utf8')) as Golden;
const bytes = (base64: string) => new Uint8Array(Buffer.from(base64, 'base64'));
const picture = (file: string) => decode({ path: fixture(`images/${file}`) });

describe('official transforms', () => {
  for (const { file, size, pixels } of golden.eval)
    it(`evaluation of ${file} at ${size} equals torchvision's in every bit`, async () => {
      assert.deepEqual(evalTransform(await picture(file), { size }), bytes(pixels));
    });

  for (const { file, size, box, pixels } of golden.crop)
    it(`a crop of ${file} at ${size} equals torchvision's in every bit`, async () => {
      assert.deepEqual(cropTransform(await picture(file), box, size), bytes(pixels));
    });

  it('take the clamped bytes of a canvas, and leave a picture as it was', async () => {
    const given = await picture('alpha.png');
    const before = new Uint8Array(given.data);
    for (const size of [7, 40]) {
      const canvas = { ...given, data: new Uint8ClampedArray(before) };
      assert.deepEqual(evalTransform(canvas, { size }), evalTransform(given, { size }));
      assert.deepEqual(new Uint8Array(given.data), before);
    }
  });

  it("draws torchvision's boxes from the same uniform numbers, fallbacks included", () => {
    for (const { width, height, scale, uniform, box } of golden.boxes) {
      const numbers = uniform[Symbol.iterator]();
      assert.deepEqual(
        randomCropBox(width, height, () => numbers.next().value!, { scale }),
        box,
      );
    }
  });

  it('normalises as torch does, bit for bit', () => {
    const ramp = Uint8Array.from({ length: 3 * 256 }, (_, i) => i % 256);
    const out = new Float32Array(ramp.length);
    normaliser()(ramp, out);
    assert.deepEqual(out, new Float32Array(bytes(golden.normalised).buffer));
  });

  property(
    'random boxes lie inside, cover 0.9 … 1 of the area within 3/4 … 4/3 up to rounding, or are the central fallback',
    fc.record({ width: fc.integer({ min: 1, max: 900 }), height: fc.integer({ min: 1, max: 900 }), seed: fc.nat() }),
    ({ width, height, seed }) => {
      const random = new Random(seed);
      const box = randomCropBox(width, height, () => random.uniform());
      assert.ok(box.left >= 0 && box.top >= 0 && box.width > 0 && box.height > 0);
      assert.ok(box.left + box.width <= width && box.top + box.height <= height);
      if (Math.min(width, height) < 20) return; // rounding to whole pixels says nothing about shares
      const slack = 1 / Math.min(box.width, box.height);
      const aspect = box.width / box.height;
      assert.ok(aspect >= (3 / 4) * (1 - slack) && aspect <= (4 / 3) * (1 + slack), `aspect ${aspect}`);
      const share = (box.width * box.height) / (width * height);
      const central =
        box.left === Math.floor((width - box.width) / 2) && box.top === Math.floor((height - box.height) / 2);
      assert.ok(share >= 0.9 * (1 - slack) || central, `share ${share}`);
    },
    300,
  );

  it('reaches the whole range of shares', () => {
    const random = new Random(3);
    const shares = Array.from({ length: 2000 }, () => {
      const { width, height } = randomCropBox(1000, 1000, () => random.uniform());
      return (width * height) / 1e6;
    });
    assert.ok(
      Math.min(...shares) < 0.91 && Math.max(...shares) > 0.985,
      `${Math.min(...shares)} ${Math.max(...shares)}`,
    );
  });
});

const raster = fc
  .record({ width: fc.integer({ min: 1, max: 40 }), height: fc.integer({ min: 1, max: 40 }), seed: fc.nat() })
  .map(({ width, height, seed }): Picture => {
    const random = new Random(seed);
    return {
      width,
      height,
      channels: 3,
      mode: 'RGB',
      data: Uint8Array.from({ length: width * height * 3 }, () => random.int(256)),
    };
  });
const whole = ({ width, height }: Picture): Box => ({ left: 0, top: 0, width, height });

describe('bicubic resizing', () => {
  property('to the same size changes nothing', raster, (image) => {
    assert.deepEqual(resizeBicubic(image, whole(image), image.width, image.height).data, image.data);
  });

  property(
    'keeps a plain colour',
    fc.tuple(raster, fc.nat(255), fc.integer({ min: 1, max: 50 })),
    ([image, grey, size]) => {
      const plain = { ...image, data: new Uint8Array(image.data.length).fill(grey) };
      assert.ok(resizeBicubic(plain, whole(plain), size, size).data.every((v) => v === grey));
    },
  );

  property(
    'of a window is the window of the resized',
    fc.tuple(raster, fc.integer({ min: 3, max: 30 })),
    ([image, size]) => {
      const all = resizeBicubic(image, whole(image), size, size + 2);
      const window = { left: 1, top: 2, width: size - 2, height: size - 1 };
      const part = resizeBicubic(image, whole(image), size, size + 2, window);
      for (let y = 0; y < window.height; y++)
        for (let x = 0; x < window.width * 3; x++)
          assert.equal(part.data[y * window.width * 3 + x], all.data[(y + 2) * size * 3 + 3 + x]);
    },
  );

  property('reads nothing outside the crop', fc.tuple(raster, fc.integer({ min: 1, max: 30 })), ([image, size]) => {
    const crop = {
      left: image.width >> 2,
      top: image.height >> 1,
      width: Math.ceil(image.width / 2),
      height: Math.ceil(image.height / 2),
    };
    const inside = (i: number) => {
      const [x, y] = [Math.floor(i / 3) % image.width, Math.floor(i / 3 / image.width)];
      return x >= crop.left && x < crop.left + crop.width && y >= crop.top && y < crop.top + crop.height;
    };
    const other = { ...image, data: image.data.map((v, i) => (inside(i) ? v : 255 - v)) };
    assert.deepEqual(resizeBicubic(image, crop, size, size).data, resizeBicubic(other, crop, size, size).data);
  });
});

describe('decoding', () => {
  it('turns by EXIF orientation only when asked', async () => {
    const { width, height } = await picture('turned.jpg');
    assert.deepEqual([width, height], [48, 36]);
    const turned = await decode({ path: fixture('images/turned.jpg') }, { orient: true });
    const straight = await picture('photo.jpg');
    assert.deepEqual([turned.width, turned.height], [36, 48]);
    // Orientation 6: the stored first row is the right-hand column.
    assert.deepEqual([...turned.data.subarray(35 * 3, 36 * 3)], [...straight.data.subarray(0, 3)]);
  });

  /** A TIFF file of one strip. */
  function tiff(width: number, height: number, pixels: Uint8Array, tags: Record<number, number>): Buffer {
    const fields = { 256: width, 257: height, 259: 1, 273: 8, 278: height, 279: pixels.length, ...tags };
    const list = Object.entries(fields); // in the order of their numbers, as the format wants it
    const directory = Buffer.alloc(2 + 12 * list.length + 4);
    directory.writeUInt16LE(list.length);
    list.forEach(([tag, value], i) => {
      directory.writeUInt16LE(Number(tag), 2 + 12 * i);
      directory.writeUInt16LE(4, 4 + 12 * i);
      directory.writeUInt32LE(1, 6 + 12 * i);
      directory.writeUInt32LE(value, 10 + 12 * i);
    });
    const head = Buffer.from('II*\0\0\0\0\0', 'latin1');
    head.writeUInt32LE(8 + pixels.length, 4);
    return Buffer.concat([head, pixels, directory]);
  }
  const grey = { 258: 8, 262: 1, 277: 1 };

  it('turns TIFF files by their orientation, as Pillow does', async () => {
    const bytes = tiff(3, 2, Uint8Array.of(1, 2, 3, 4, 5, 6), { ...grey, 274: 6 });
    const { width, height, channels, data } = await decode({ bytes });
    const first = data.filter((_, i) => i % channels === 0);
    assert.deepEqual([width, height, ...first], [2, 3, 4, 1, 5, 2, 6, 3]);
  });

  it('refuses numbers that are no whole ones, and inks of 16 bits', async () => {
    const float = tiff(1, 1, new Uint8Array(4), { ...grey, 258: 32, 339: 3 });
    await assert.rejects(
      decode({ bytes: float }),
      (e: Error) => e instanceof DataError && /of type float/.test(e.message),
    );
    const { default: sharp } = await import('sharp');
    const inks = await sharp(readFileSync(fixture('images/photo.jpg')))
      .toColourspace('cmyk')
      .tiff()
      .toBuffer();
    assert.equal((await decode({ bytes: inks })).mode, 'CMYK');
  });

  it('lays transparent parts over a background when asked', async () => {
    const image = await picture('alpha.png');
    const at = (pixels: Uint8Array) => [0, 1, 2].map((c) => pixels[c * 400]);
    assert.deepEqual(at(evalTransform(image, { size: 20 })), [0, 0, 0]);
    assert.deepEqual(at(evalTransform(image, { size: 20, background: [255, 250, 9] })), [255, 250, 9]);
  });

  it('draws SVG at the size that is asked for', async () => {
    const svg =
      '<svg xmlns="http://www.w3.org/2000/svg" width="8" height="16"><rect width="8" height="16" fill="#f00"/></svg>';
    const { width, height, data } = await decode({ bytes: Buffer.from(svg) }, { drawnSide: 64 });
    assert.deepEqual([width, height, data[0], data[1]], [64, 128, 255, 0]);
    const small = await decode({ bytes: Buffer.from(svg) }, { drawnSide: 4 });
    assert.deepEqual([small.width, small.height], [4, 8]);
  });

  for (const [name, input, message] of [
    ['a truncated file', { path: fixture('images/truncated.jpg') }, /premature end/],
    ['a missing file', { path: fixture('images/none.jpg') }, /no such file.*none\.jpg/],
    ['bytes that are no picture', { bytes: Buffer.from('hello') }, /unsupported image format/],
  ] as const)
    it(`refuses ${name} by name`, async () => {
      await assert.rejects(decode(input), (error: Error) => error instanceof DataError && message.test(error.message));
    });

  it('refuses pictures over the limit of pixels', async () => {
    await assert.rejects(decode({ path: fixture('images/photo.jpg') }, { maxPixels: 1000 }), /pixel limit/);
  });

  it('makes the same training view from the same random numbers, another from others', async () => {
    const image = await picture('photo.jpg');
    const view = (seed: number) => trainTransform(image, new Random(seed), { size: 16 });
    assert.deepEqual(view(1), view(1));
    assert.notDeepEqual(view(1), view(2));
  });
});
