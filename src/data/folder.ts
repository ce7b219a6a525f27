/** Pictures in folders: folder name = class, or no classes at all. */
import { readdir } from 'node:fs/promises';
import { extname, join, relative } from 'node:path';
import { DataError } from '../tensor/errors.js';
import { listSource, type Source } from './source.js';

/** Extensions of files that are taken for pictures. */
export const imageExtensions: ReadonlySet<string> = new Set([
  '.jpg',
  '.jpeg',
  '.png',
  '.webp',
  '.gif',
  '.avif',
  '.tif',
  '.tiff',
  '.svg',
]);

const isImage = (name: string) => imageExtensions.has(extname(name).toLowerCase());

function unreadable(folder: string, error: Error): never {
  throw new DataError('folder', { received: `${folder}: ${error.message}`, expected: 'a folder of pictures' });
}

/** Paths of all pictures below a folder, sorted by path; hidden files and folders are left out. */
export async function imageFiles(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch((error) =>
    unreadable(folder, error),
  );
  return entries
    .filter((entry) => !entry.isDirectory() && isImage(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .filter(
      (path) =>
        !relative(folder, path)
          .split(/[/\\]/)
          .some((part) => part.startsWith('.')),
    )
    .sort();
}

/** Pictures of a folder and its subfolders, without words or classes: for embedding and searching. */
export async function imagesSource(folder: string): Promise<Source & { size: number; paths: string[] }> {
  const paths = await imageFiles(folder);
  if (paths.length === 0)
    throw new DataError('folder', {
      received: `${folder} without pictures`,
      expected: `files ending in ${[...imageExtensions].join(' ')}`,
    });
  return {
    ...listSource(
      folder,
      paths.map((path, index) => ({ index, name: path, image: { path } })),
    ),
    paths,
  };
}

/** Names of the subfolders, sorted. */
async function subfolders(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch((error) => unreadable(folder, error));
  return entries
    .filter((entry) => entry.isDirectory() && !entry.name.startsWith('.'))
    .map(({ name }) => name)
    .sort();
}

/**
 * Labelled pictures: every subfolder is a class, numbered in the order of their names (as torchvision's ImageFolder does),
 * or in the order of `classes` when these are named.
 * @throws DataError when there are no subfolders, or one without pictures
 */
export async function folderSource(
  folder: string,
  options: { classes?: readonly string[] } = {},
): Promise<Source & { size: number; classNames: string[] }> {
  const classNames = options.classes ? [...options.classes] : await subfolders(folder);
  const files = await Promise.all(classNames.map((name) => imageFiles(join(folder, name))));
  const empty = classNames.filter((_, label) => files[label]!.length === 0);
  if (classNames.length === 0 || empty.length > 0)
    throw new DataError('folder', {
      received: empty.length > 0 ? `no pictures in ${empty.join(', ')}` : `no subfolders in ${folder}`,
      expected: 'one subfolder of pictures for each class',
    });
  const rows = files.flatMap((paths, label) => paths.map((path) => ({ name: path, image: { path }, label })));
  const numbered = rows.map((row, index) => ({ index, ...row }));
  return { ...listSource(folder, numbered), classNames };
}
