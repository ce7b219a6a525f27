/** Sets of icons in Iconify's format. */

/** A set of icons as Iconify packs it, icons.json. */
export interface IconSet {
  icons: Record<string, { body: string; width?: number; height?: number }>;
  aliases?: Record<string, { parent: string; hFlip?: boolean; vFlip?: boolean; rotate?: number }>;
  width?: number;
  height?: number;
}

/** An icon as an SVG document; aliases may turn or mirror their parent. @returns null for an unknown name */
export function renderIcon(set: IconSet, icon: string): string | null {
  let transform = '';
  let name = icon;
  for (let depth = 0; !set.icons[name] && depth < 5; depth++) {
    const alias = set.aliases?.[name];
    if (!alias) return null;
    const { width = set.width ?? 16, height = set.height ?? 16 } = set.icons[alias.parent] ?? {};
    if (alias.hFlip) transform += `translate(${width} 0) scale(-1 1) `;
    if (alias.vFlip) transform += `translate(0 ${height}) scale(1 -1) `;
    if (alias.rotate) transform += `rotate(${alias.rotate * 90} ${width / 2} ${height / 2}) `;
    name = alias.parent;
  }
  const { body, width = set.width ?? 16, height = set.height ?? 16 } = set.icons[name]!;
  const content = transform ? `<g transform="${transform.trim()}">${body}</g>` : body;
  return `<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 ${width} ${height}">${content}</svg>`;
}
