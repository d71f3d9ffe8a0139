/** A normative statement of an MQTT specification, by the number it has there. */
export interface Statement {
  /** `3.1.2-22` for what the specification writes as `[MQTT-3.1.2-22]`. */
  readonly tag: string;
  /** `both` also where one side must send it so and the other must refuse it otherwise. */
  readonly binds: "server" | "client" | "both";
  /** What it asks for, in our words. */
  readonly says: string;
  /** Why it asks nothing of this server; null: a test must show that it holds. */
  readonly whyNot: string | null;
}

/** A statement about the server; `whyNot` where it speaks of something this server never does. */
export function server(tag: string, says: string, whyNot: string | null = null): Statement {
  return { tag, binds: "server", says, whyNot };
}

/** A statement about clients alone. */
export function client(tag: string, says: string): Statement {
  return { tag, binds: "client", says, whyNot: "It binds the client alone." };
}

/** A statement about both ends; `whyNot` where this end never does what it speaks of. */
export function both(tag: string, says: string, whyNot: string | null = null): Statement {
  return { tag, binds: "both", says, whyNot };
}

/** The tags of one version out of `[MQTT-2.2.1-3] 3.1.1 [MQTT-2.3.1-1]`; a test's name puts them behind `in 3.1.1`. */
export function tagsOf(level: 4 | 5, tags: string): string {
  const [own = "", old = ""] = tags.split("3.1.1");
  const found = (level === 5 ? own : old).trim();
  return found === "" ? "" : ` ${found}`;
}
