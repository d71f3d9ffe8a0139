/**
 * One line per event: readable on a terminal, JSON with `LOG_FORMAT=json`.
 *
 * No message text and no full phone number is ever logged; the development line with a login code is the only
 * exception. This file imports nothing and may be imported from every room.
 *
 * @module
 */

/** Values shown beside an event; durations end in `Ms`. */
export type LogFields = Readonly<Record<string, string | number | bigint | boolean | null | undefined>>;

/** Where events are told. */
export interface Log {
  /** Only with `LOG_LEVEL=debug`. */
  debug(event: string, fields?: LogFields): void;
  /** Something worth knowing in normal running. */
  info(event: string, fields?: LogFields): void;
  /** Something an operator should look at. */
  warn(event: string, fields?: LogFields): void;
  /** A bug or a failed dependency; `cause` is printed once, with its stack. */
  error(event: string, cause?: unknown, fields?: LogFields): void;
}

/** How a log is written. */
export interface LogOptions {
  readonly format: "text" | "json";
  readonly level: "debug" | "info" | "warn" | "error";
  /** Receives each finished line without its line break; standard error by default. */
  readonly write?: (line: string) => void;
}

const LEVELS = { debug: 10, info: 20, warn: 30, error: 40 } as const;

/** Makes a log; events below `level` are dropped. */
export function createLog(options: LogOptions): Log {
  const write = options.write ?? ((line: string) => console.error(line));
  const emit = (level: keyof typeof LEVELS, event: string, fields: LogFields, cause?: unknown) => {
    if (LEVELS[level] < LEVELS[options.level]) return;
    const time = new Date().toISOString();
    if (options.format === "json") {
      const line: Record<string, unknown> = { time, level, event };
      for (const [key, value] of Object.entries(fields)) {
        if (value !== undefined) line[key] = typeof value === "bigint" ? String(value) : value;
      }
      if (cause !== undefined) line.cause = describe(cause);
      write(JSON.stringify(line));
      return;
    }
    const shown = Object.entries(fields)
      .filter(([, value]) => value !== undefined)
      .map(([key, value]) =>
        ` ${key}=${typeof value === "string" && /\s|=/.test(value) ? JSON.stringify(value) : value}`
      )
      .join("");
    const mark = level === "info" ? "" : `${level.toUpperCase()} `;
    write(
      `${time.slice(11, 23)} ${mark}${event}${shown}${cause === undefined ? "" : `: ${describe(cause)}`}`,
    );
  };
  return {
    debug: (event, fields = {}) => emit("debug", event, fields),
    info: (event, fields = {}) => emit("info", event, fields),
    warn: (event, fields = {}) => emit("warn", event, fields),
    error: (event, cause, fields = {}) => emit("error", event, fields, cause),
  };
}

function describe(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause);
  const below = cause.cause === undefined ? "" : `\n  caused by ${describe(cause.cause)}`;
  return (cause.stack ?? `${cause.name}: ${cause.message}`) + below;
}
