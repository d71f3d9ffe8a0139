/**
 * Bundles the web page into `web/dist`: hashed names under `assets/`, and an `index.html` that names them.
 *
 *     deno run -A scripts/build.ts [--force]
 *
 * Builds only when a source is newer in content than what is there. The result is made in a folder beside and
 * renamed, so that servers that start at the same time never see half a page.
 */
const root = new URL("../", import.meta.url);
const web = new URL("web/", root);
const dist = new URL("dist/", web);
const STYLES = ["tokens", "elements", "login", "chat", "panels"];

async function main(force: boolean): Promise<void> {
  const startedAt = performance.now();
  const sources = await hashOfSources();
  if (!force && await readText(new URL("sources.txt", dist)) === sources) {
    console.log("web page: up to date");
    return;
  }
  const made = await Deno.makeTempDir({ dir: web.pathname, prefix: ".dist-" });
  try {
    await buildInto(made, sources);
    await replaceDist(made);
  } catch (error) {
    await Deno.remove(made, { recursive: true });
    throw error;
  }
  const bytes = await sizeOf(dist);
  console.log(
    `web page: built in ${Math.round(performance.now() - startedAt)} ms, ${Math.round(bytes / 1024)} KiB`,
  );
}

async function buildInto(folder: string, sources: string): Promise<void> {
  const assets = `${folder}/assets`;
  await Deno.mkdir(assets);
  const command = new Deno.Command(Deno.execPath(), {
    args: [
      ...["bundle", "--quiet", "--platform", "browser", "--minify", "--code-splitting", "--outdir", assets],
      new URL("app.tsx", web).pathname,
    ],
    cwd: root.pathname,
    stdout: "piped",
    stderr: "piped",
  });
  const output = await command.output();
  if (!output.success) throw new Error(`deno bundle failed:\n${new TextDecoder().decode(output.stderr)}`);
  const script = await hashName(assets, "app", "js", await Deno.readFile(`${assets}/app.js`));
  await Deno.remove(`${assets}/app.js`);
  for await (const { name } of Deno.readDir(assets)) {
    if (name !== script && (await Deno.readTextFile(`${assets}/${name}`)).includes("./app.js")) {
      throw new Error(`${name} imports the entry by a name it no longer has`);
    }
  }
  const css = (await Promise.all(STYLES.map((name) => Deno.readTextFile(new URL(`styles/${name}.css`, web)))))
    .join("");
  const style = await hashName(assets, "app", "css", new TextEncoder().encode(squeeze(css)));
  const icon = await hashName(assets, "icon", "svg", await Deno.readFile(new URL("icon.svg", web)));
  const page = (await Deno.readTextFile(new URL("index.html", web)))
    .replaceAll("app.js", `/assets/${script}`)
    .replaceAll("app.css", `/assets/${style}`)
    .replaceAll("icon.svg", `/assets/${icon}`);
  await Deno.writeTextFile(`${folder}/index.html`, page);
  await Deno.writeTextFile(`${folder}/sources.txt`, sources);
  await Deno.chmod(folder, 0o755);
}

async function hashName(
  folder: string,
  stem: string,
  extension: string,
  bytes: Uint8Array<ArrayBuffer>,
): Promise<string> {
  const name = `${stem}.${(await sha256(bytes)).slice(0, 10)}.${extension}`;
  await Deno.writeFile(`${folder}/${name}`, bytes);
  return name;
}

/** Comments and indentation out: enough for a style sheet without strings that hold either. */
function squeeze(css: string): string {
  return css.replaceAll(/\/\*[\s\S]*?\*\//g, "").replaceAll(/\s*\n\s*/g, "\n").trim();
}

/** Everything that goes into the page, and what it is made with. */
async function hashOfSources(): Promise<string> {
  const files = [
    new URL("wire.ts", root),
    new URL("deno.json", root),
    new URL("deno.lock", root),
    new URL(import.meta.url),
  ];
  for (const folder of [web, new URL("sdk/", root)]) await addFiles(folder, files);
  files.sort((a, b) => a.href < b.href ? -1 : 1);
  const lines = await Promise.all(
    files.map(async (file) =>
      `${file.pathname.slice(root.pathname.length)} ${await sha256(await Deno.readFile(file))}`
    ),
  );
  return await sha256(new TextEncoder().encode([Deno.version.deno, ...lines].join("\n")));
}

async function addFiles(folder: URL, files: URL[]): Promise<void> {
  for await (const entry of Deno.readDir(folder)) {
    if (entry.name === "dist" || entry.name.startsWith(".")) continue;
    if (entry.isDirectory) await addFiles(new URL(`${entry.name}/`, folder), files);
    else files.push(new URL(entry.name, folder));
  }
}

/** A folder cannot be renamed onto one that has files: the old one steps aside first. */
async function replaceDist(made: string): Promise<void> {
  const old = `${made}-old`;
  for (let attempt = 0;; attempt++) {
    try {
      await Deno.rename(dist, old);
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
    try {
      await Deno.rename(made, dist);
      break;
    } catch (error) {
      // Another build put its own there in between.
      if (attempt === 5) throw error;
    }
  }
  await Deno.remove(old, { recursive: true }).catch((error) => {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  });
}

async function sizeOf(folder: URL): Promise<number> {
  let bytes = 0;
  for await (const { name } of Deno.readDir(new URL("assets/", folder))) {
    bytes += (await Deno.stat(new URL(`assets/${name}`, folder))).size;
  }
  return bytes;
}

async function readText(file: URL): Promise<string | null> {
  try {
    return await Deno.readTextFile(file);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}

async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
}

if (import.meta.main) {
  try {
    await main(Deno.args.includes("--force"));
  } catch (error) {
    console.error(`web page: not built: ${error instanceof Error ? error.message : error}`);
    Deno.exit(1);
  }
}
