/** What bundlers for pages put in place of packages that need Node. */
throw new Error('this package needs Node');

export {};
