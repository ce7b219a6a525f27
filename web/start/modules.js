// The import statements of the program in the editor as destructuring: the modules come with the page.

const statement = /^[ \t]*import\s+(?:\*\s+as\s+(?<all>\w+)|\{(?<names>[^}]*)\})\s+from\s+(['"])(?<from>[^'"]+)\3;?/gm;

/**
 * @param available names of modules
 * @returns the program as the body of an async function of `modules`, line by line
 * @throws Error that names the module when there is none of its name
 */
export function withoutImports(program, available) {
  return program.replace(statement, (all, ...rest) => {
    const { all: whole, names, from } = rest.at(-1);
    if (!available.includes(from)) throw new Error(`There is no module ${from} here, but ${available.join(', ')}.`);
    const target = whole ?? `{${names.replace(/\btype\s+\w+,?/g, '').replace(/\bas\b/g, ':')}}`;
    // As many lines as before, so that the lines of errors are those of the editor.
    const lines = '\n'.repeat(all.split('\n').length - target.split('\n').length);
    return `const ${target} = modules[${JSON.stringify(from)}];${lines}`;
  });
}
