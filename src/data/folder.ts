/** Pictures in folders: folder name = class, or no classes at all. */
import { readdir, realpath, stat } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { DataError, printable } from '../tensor/errors.js';
import { listSource, type Source } from './source.js';

/** Extensions of files that are taken for pictures. */
export const imageExtensions: ReadonlySet<string> = new Set(
  '.jpg .jpeg .jpe .jfif .png .webp .gif .avif .tif .tiff .svg'.split(' '),
);
/** Extensions of pictures that nothing here reads. */
const otherPictures: ReadonlySet<string> = new Set(
  '.bmp .heic .heif .jxl .jp2 .j2k .ico .psd .xcf .tga .ppm .pgm .pbm .pnm .eps .exr .hdr .raw .cr2 .nef .dng .arw'.split(
    ' ',
  ),
);

const endingOf = (name: string) => extname(name).toLowerCase();
const isImage = (name: string) => imageExtensions.has(endingOf(name));

export interface FolderOptions {
  /** Where is told what was passed over. Default console.warn. */
  log?: (message: string) => void;
}

function unreadable(folder: string, error: Error): never {
  throw new DataError('folder', { received: `${folder}: ${error.message}`, expected: 'a folder of pictures' });
}

/** Folders and other files in a folder, hidden ones left out; links count as what they lead to. */
async function entriesOf(folder: string): Promise<{ folders: string[]; files: string[] }> {
  const entries = await readdir(folder, { withFileTypes: true }).catch((error) => unreadable(folder, error));
  const [folders, files]: string[][] = [[], []];
  for (const entry of entries) {
    if (entry.name.startsWith('.')) continue;
    const leadsToFolder =
      entry.isSymbolicLink() &&
      (await stat(join(folder, entry.name)).then(
        (found) => found.isDirectory(),
        () => false, // leads nowhere: named when it is to be read
      ));
    (entry.isDirectory() || leadsToFolder ? folders! : files!).push(entry.name);
  }
  return { folders: folders!.sort(), files: files! };
}

/** All files below a folder, every folder once: links may lead in circles. */
async function filesBelow(folder: string, seen = new Set<string>()): Promise<string[]> {
  const real = await realpath(folder).catch((error) => unreadable(folder, error));
  if (seen.has(real)) return [];
  seen.add(real);
  const { folders, files } = await entriesOf(folder);
  const found = files.map((name) => join(folder, name));
  for (const name of folders) for (const path of await filesBelow(join(folder, name), seen)) found.push(path);
  return found;
}

/** Paths of all pictures below a folder, sorted by path; hidden files and folders are left out. */
export async function imageFiles(folder: string): Promise<string[]> {
  return (await filesBelow(folder)).filter(isImage).sort();
}

/** The same, telling how many pictures of other formats there are. */
async function picturesIn(folder: string, log: (message: string) => void): Promise<string[]> {
  const files = (await filesBelow(folder)).sort();
  const passed = files.filter((path) => otherPictures.has(endingOf(path)));
  const endings = [...new Set(passed.map(endingOf))].sort().join(' ');
  if (passed.length > 0)
    log(
      printable(`${folder}: ${passed.length} pictures are passed over (${endings}), the first is ${passed[0]}`, 1000),
    );
  return files.filter(isImage);
}

/** Pictures of a folder and its subfolders, without words or classes: for embedding and searching. */
export async function imagesSource(
  folder: string,
  { log = console.warn }: FolderOptions = {},
): Promise<Source & { size: number; paths: string[] }> {
  const paths = await picturesIn(folder, log);
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

/**
 * Labelled pictures: every subfolder is a class, numbered in the order of their names (as torchvision's ImageFolder does),
 * or in the order of `classes` when these are named.
 * @throws DataError when there are no subfolders, or one without pictures
 */
export async function folderSource(
  folder: string,
  options: FolderOptions & { classes?: readonly string[] } = {},
): Promise<Source & { size: number; classNames: string[] }> {
  const { log = console.warn } = options;
  const classNames = options.classes ? [...options.classes] : (await entriesOf(folder)).folders;
  const files: string[][] = [];
  for (const name of classNames) files.push(await picturesIn(join(folder, name), log));
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
