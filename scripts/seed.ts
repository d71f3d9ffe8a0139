/**
 * `deno task seed [url]`: fills a running development server with people and conversations to look at.
 *
 * Everything goes through the public doors, and every message has a fixed clientMessageId: running it again adds
 * nothing.
 */
import { ConfigError, processEnv, readConfig } from "../config.ts";
import { HttpClient, RequestError } from "../sdk/mod.ts";
import { signedHeaders } from "../tests/admin.ts";
import { PEOPLE, type SeedPerson, type SeedTalk, TALKS } from "./seed_talks.ts";

/** A reason that the person at the terminal can do something about. */
class SeedError extends Error {
  override readonly name = "SeedError";
}

/** Two people may have more than one talk in their conversation. */
const CONVERSATION_COUNT = new Set(TALKS.map(({ between }) => between.toSorted().join(" "))).size;

const HELP = `deno task seed [url]

Fills a running development server with ${PEOPLE.length} people and ${CONVERSATION_COUNT} conversations, in Chinese and English. Running it again adds
nothing. The url is http://127.0.0.1:8000 unless PORT says otherwise.

Requests are signed with ADMIN_SECRET, or with the secret that the server keeps in DATA_DIR/admin_secret (./data).`;

const LOOPBACK = /^(?:localhost|127\.\d+\.\d+\.\d+|\[::1\])$/;

interface Server {
  readonly origin: string;
  readonly adminSecret: string;
}

/** A person's way in. */
type Logins = ReadonlyMap<string, HttpClient>;

async function findServer(args: readonly string[]): Promise<Server> {
  const config = readConfig(processEnv());
  const given = args[0] ?? `http://127.0.0.1:${config.port}`;
  if (!URL.canParse(given) || !/^https?:$/.test(new URL(given).protocol)) {
    throw new SeedError(`${given} is no address of a server, as in http://127.0.0.1:8000.`);
  }
  const { origin, hostname } = new URL(given);
  // Anybody who reads this file could log in as these people.
  if (config.mode === "production" || !LOOPBACK.test(hostname)) {
    throw new SeedError(
      `${origin} is left alone: these people are for a development server on this machine.`,
    );
  }
  return { origin, adminSecret: config.adminSecret ?? await readSecret(`${config.dataDir}/admin_secret`) };
}

async function readSecret(path: string): Promise<string> {
  try {
    return (await Deno.readTextFile(path)).trim();
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new SeedError(
      `There is no ${path}. Start the server first with deno task start, run this in the same folder, or set DATA_DIR or ADMIN_SECRET as the server has it.`,
    );
  }
}

async function callServerApi(server: Server, path: string, body: unknown): Promise<unknown> {
  const response = await fetch(`${server.origin}${path}`, {
    method: "POST",
    headers: signedHeaders(server.adminSecret),
    body: JSON.stringify(body),
  });
  const { code, msg, result } = await response.json() as { code: number; msg: string; result?: unknown };
  if (code !== 0) throw new SeedError(`${path} refused ${JSON.stringify(body)}: ${msg}`);
  return result;
}

async function logIn(server: Server, person: SeedPerson): Promise<HttpClient> {
  const { userId, displayName, mobile, gender } = person;
  await callServerApi(server, "/admin/user/create", { userId, name: userId, displayName, mobile, gender });
  const clientId = `seed-of-${userId}`;
  const { token } = await callServerApi(server, "/admin/user/get_token", {
    userId,
    clientId,
    platform: 0,
  }) as {
    token: string;
  };
  return new HttpClient({ origin: server.origin, token });
}

/** Says everything in order; how many messages were new. */
async function converse(talk: SeedTalk, logins: Logins): Promise<number> {
  const [first, second] = talk.between;
  let made = 0;
  let lastMessageId = "";
  for (const [i, line] of talk.lines.entries()) {
    const [from, target] = line.startsWith(">") ? [first, second] : [second, first];
    const sent = await logins.get(from)!.request("message.send", {
      clientMessageId: `seed-${talk.name}-${i}`,
      conversation: { type: 0, target, line: 0 },
      content: { type: 1, searchableContent: line.slice(2), persistFlag: 3 },
    });
    if (!("repeated" in sent)) made++;
    lastMessageId = sent.messageId;
  }
  const readers: readonly (readonly [string, string])[] = talk.read
    ? [[first, second], [second, first]]
    : [[second, first]];
  for (const [reader, target] of readers) {
    await logins.get(reader)!.request("conversation.read", {
      conversation: { type: 0, target, line: 0 },
      messageId: lastMessageId,
    });
  }
  return made;
}

async function seed(args: readonly string[]): Promise<void> {
  const server = await findServer(args);
  const logins = new Map<string, HttpClient>();
  for (const person of PEOPLE) logins.set(person.userId, await logIn(server, person));
  const nameOf = (userId: string) => PEOPLE.find((person) => person.userId === userId)!.displayName;
  let made = 0;
  for (const talk of TALKS) {
    const added = await converse(talk, logins);
    const [first, second] = talk.between.map(nameOf);
    console.log(`${first} – ${second}: ${talk.lines.length} messages, ${added} new`);
    made += added;
  }
  for (const login of logins.values()) await login.logout();

  const width = Math.max(...PEOPLE.map((person) => person.mobile.length));
  console.log(`\n${PEOPLE.length} people and ${CONVERSATION_COUNT} conversations, ${made} new messages.\n`);
  console.log(`Open ${server.origin} and log in by mobile number; a development server shows the code.`);
  for (const { mobile, displayName } of PEOPLE) console.log(`  ${mobile.padEnd(width)}  ${displayName}`);
  console.log(`${PEOPLE[0]!.displayName} knows everybody and has unread messages.`);
}

async function main(args: readonly string[]): Promise<number> {
  if (args.includes("--help")) {
    console.log(HELP);
    return 0;
  }
  try {
    await seed(args);
    return 0;
  } catch (error) {
    const isExpected = error instanceof SeedError || error instanceof ConfigError ||
      error instanceof RequestError;
    if (error instanceof TypeError) {
      console.error(`The server cannot be reached. Is it running? ${error.message}`);
    } else if (isExpected) console.error(error.message);
    else console.error(error);
    return 1;
  }
}

if (import.meta.main) Deno.exit(await main(Deno.args));
