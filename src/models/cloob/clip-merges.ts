/** CLIP's published merges (clip-merges.txt.gz), in base64. The build puts them here in dist/; empty before that. */
export const packed: string = '';
