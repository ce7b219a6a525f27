/** Letting the event loop turn: finalizers, and the answers of a GPU, come between its turns. */

/** setTimeout waits a millisecond in Node, and four in a browser that is asked again and again; this does not. */
export function turn(): Promise<void> {
  if (typeof setImmediate === 'function') return new Promise((resolve) => setImmediate(resolve));
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}
