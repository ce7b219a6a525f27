/** Templates and class names from text and files. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DataError } from 'hopgrad';
import {
  imageNetTemplates,
  parseClassNames,
  parseTemplates,
  readClassNames,
  readTemplates,
} from 'hopgrad/models/cloob';

describe('prompt files', () => {
  it('one template a line, any kind of place and line end', () => {
    const text = '\uFEFFa photo of a {}.\r\n\n  the {name}, again {name} \na {c} in a video game.';
    assert.deepEqual(parseTemplates(text), ['a photo of a {}.', 'the {}, again {}', 'a {} in a video game.']);
  });

  it('names the line without a place for the class', () => {
    assert.throws(
      () => parseTemplates('a {}\n\na photo', 'templates.txt'),
      (error: unknown) => {
        assert.ok(error instanceof DataError);
        assert.match(error.message, /"a photo" in line 3 of templates\.txt/);
        return true;
      },
    );
    assert.throws(() => parseTemplates('\n \n'), DataError);
  });

  it('class names keep their order and their inner spaces', () => {
    assert.deepEqual(parseClassNames('great white shark\nkite (bird of prey)\n\nmissile\nmissile\n'), [
      'great white shark',
      'kite (bird of prey)',
      'missile',
      'missile',
    ]);
    assert.throws(() => parseClassNames(''), DataError);
  });

  it('reads files, and says which one it cannot read', () => {
    const folder = mkdtempSync(join(tmpdir(), 'hopgrad-'));
    try {
      const path = join(folder, 'lines.txt');
      writeFileSync(path, 'the {}\n');
      assert.deepEqual(readTemplates(path), ['the {}']);
      assert.deepEqual(readClassNames(path), ['the {}']);
      assert.throws(() => readTemplates(join(folder, 'none.txt')), /none\.txt/);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it("ImageNet's usual templates: 80 different ones, each with one place", () => {
    assert.equal(imageNetTemplates.length, 80);
    assert.equal(new Set(imageNetTemplates).size, 80);
    assert.deepEqual(parseTemplates(imageNetTemplates.join('\n')), imageNetTemplates);
    for (const template of imageNetTemplates) assert.equal(template.split('{}').length, 2, template);
  });
});
