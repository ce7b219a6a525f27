/**
 * gpu.js itself, its browser build, which needs nothing but what is in it. The build puts it here in dist/: as a
 * dependency it would bring a second Dawn and a compiled OpenGL, which nothing here uses, into every installation.
 */
const gpuJs: unknown = null;
export default gpuJs;
