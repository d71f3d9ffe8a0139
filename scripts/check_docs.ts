/**
 * Fails when something that can be reached from a room's `mod.ts` has no docstring: the module, an exported symbol, or
 * a method of one.
 *
 *     deno run -A scripts/check_docs.ts broker/mod.ts im/mod.ts
 *
 * `deno doc --lint` asks for one on every field too. A field whose name and type say everything needs none.
 */

interface Documented {
  readonly name: string;
  readonly jsDoc?: { readonly doc?: string };
}

interface Declaration {
  readonly location: { readonly filename: string; readonly line: number };
  readonly kind: string;
  readonly jsDoc?: { readonly doc?: string };
  readonly def?: { readonly methods?: readonly (Documented & { readonly accessibility?: string })[] };
}

interface Documentation {
  readonly nodes: Readonly<
    Record<string, {
      readonly module_doc?: { readonly doc?: string };
      readonly symbols: readonly { readonly name: string; readonly declarations: readonly Declaration[] }[];
    }>
  >;
}

async function readDocumentation(module: string): Promise<Documentation> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["doc", "--json", module],
  }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  return JSON.parse(new TextDecoder().decode(stdout)) as Documentation;
}

function hasDoc(documented: { readonly jsDoc?: { readonly doc?: string } }): boolean {
  return (documented.jsDoc?.doc ?? "").trim() !== "";
}

/** What lacks a docstring, as `place: name`. */
function listGaps(documentation: Documentation): string[] {
  const gaps: string[] = [];
  for (const [module, { module_doc, symbols }] of Object.entries(documentation.nodes)) {
    if ((module_doc?.doc ?? "").trim() === "") gaps.push(`${module}: the module itself`);
    for (const { name, declarations } of symbols) {
      for (const declaration of declarations) {
        const place = `${declaration.location.filename}:${declaration.location.line}`;
        if (!hasDoc(declaration)) gaps.push(`${place}: ${name}`);
        for (const method of declaration.def?.methods ?? []) {
          // The disposal method of an object has one meaning everywhere.
          if (method.accessibility === "private" || method.name.startsWith("[")) continue;
          if (!hasDoc(method)) gaps.push(`${place}: ${name}.${method.name}`);
        }
      }
    }
  }
  return gaps;
}

const gaps: string[] = [];
let symbols = 0;
for (const module of Deno.args) {
  const documentation = await readDocumentation(module);
  for (const node of Object.values(documentation.nodes)) symbols += node.symbols.length;
  gaps.push(...listGaps(documentation));
}
for (const gap of new Set(gaps)) console.error(`no docstring: ${gap}`);
if (symbols === 0 || gaps.length > 0) Deno.exit(1);
console.log(`Checked the docstrings of ${symbols} exported symbols`);
