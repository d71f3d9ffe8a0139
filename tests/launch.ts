/** Hearth as `deno task start` runs it: what it prints is what a person sees. */

const ROOT = new URL("../", import.meta.url);

/** A running program. */
export interface Launched {
  /** The line that names the address; rejects when the program ends before it. */
  readonly ready: Promise<string>;
  /** Everything written, once it has ended. */
  readonly ended: Promise<{ code: number; output: string }>;
  kill(signal: Deno.Signal): void;
}

/** Starts `main.ts` as its own process, as `deno task start` does. */
export function launch(env: Readonly<Record<string, string>>, args: readonly string[] = []): Launched {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "main.ts", ...args],
    cwd: ROOT.pathname,
    env: { LANG: "en", ...env },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const ready = Promise.withResolvers<string>();
  const read = async (stream: ReadableStream<Uint8Array<ArrayBuffer>>) => {
    let text = "";
    for await (const chunk of stream.pipeThrough(new TextDecoderStream())) {
      text += chunk;
      const url = /Hearth is ready: (\S+)\n/.exec(text)?.[1];
      if (url !== undefined) ready.resolve(url);
    }
    return text;
  };
  const ended = Promise.all([read(child.stdout), read(child.stderr), child.status])
    .then(([out, err, { code }]) => {
      ready.reject(new Error(`Hearth ended with ${code}: ${err}`));
      return { code, output: `${out}${err}` };
    });
  ready.promise.catch(() => {});
  return { ready: ready.promise, ended, kill: (signal) => child.kill(signal) };
}
