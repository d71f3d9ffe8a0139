import { createLog } from "../../../log.ts";
import { encodePublish } from "../../../sdk/packet.ts";
import { acquireNodeLease } from "../../../store/mod.ts";
import type { CommandName, Commands } from "../../../wire.ts";
import { type Bench, BenchError, type Scenario } from "../bench.ts";
import { withSql } from "../bench_cluster.ts";
import { cpuUse, readCpu } from "../cpu_time.ts";
import { Histogram } from "../histogram.ts";
import { type Account, createAccounts, LoadClient } from "../load_client.ts";
import { contentOf, openPipeline, storeMessage } from "../pipeline_load.ts";
import { describeCpu, describeTimes, formatNumber } from "../report.ts";
import type { ServerProcess } from "../server_process.ts";

const WAITING = 100_000;
const SENDERS = 50;
const IN_FLIGHT = 1_000;
const FIRST_PAGES = 50;
const PAGE = 500;
/** One request is under way at a time. */
const PACKET_ID = 1;

/** What somebody meets who comes back to very many messages. */
export const catchUp: Scenario = {
  name: "catch-up",
  about: `first page, all pages and the conversation list for a user with ${
    formatNumber(WAITING)
  } waiting messages`,
  async run(bench: Bench) {
    await using server = await bench.startServer();
    const [receiver, ...senders] = await createAccounts(server, "waiting-", SENDERS + 1);
    if (receiver === undefined) throw new BenchError("No user was made.");
    await storeWaiting(server.databaseUrl!, receiver, senders, bench.settings.bodyBytes);
    await measure(bench, server, receiver);
  },
};

/** Writes straight into the pipeline, as a node of its own beside the server. */
async function storeWaiting(
  databaseUrl: string,
  receiver: Account,
  senders: readonly Account[],
  bodyBytes: number,
): Promise<void> {
  const contentJson = contentOf(bodyBytes);
  await withSql(databaseUrl, async (sql) => {
    const log = createLog({ format: "text", level: "warn" });
    const lease = await acquireNodeLease(sql, { address: "", log });
    const pipeline = openPipeline(databaseUrl, lease);
    try {
      let made = 0;
      await Promise.all(Array.from({ length: IN_FLIGHT }, async () => {
        while (made < WAITING) {
          const number = made++;
          const from = senders[number % senders.length]!.userId;
          await storeMessage(pipeline, {
            from,
            to: receiver.userId,
            clientMessageId: `w${number}`,
            contentJson,
          });
        }
      }));
    } finally {
      await pipeline.close();
      await lease.release();
    }
  });
}

async function measure(bench: Bench, server: ServerProcess, receiver: Account): Promise<void> {
  const notes = [
    `${formatNumber(WAITING)} messages of ${SENDERS} senders wait`,
    `${bench.settings.bodyBytes} bytes of text`,
    "over MQTT",
  ];
  const firstPage = new Histogram();
  let cold = 0;
  for (let i = 0; i < FIRST_PAGES; i++) {
    await using device = await Device.connect(server, receiver);
    const before = performance.now();
    const page = await device.request("message.pull", { cursor: "0", limit: PAGE });
    const ms = performance.now() - before;
    if (page.entries.length === 0 || page.head !== String(WAITING)) {
      throw new BenchError(`The first page holds ${page.entries.length} entries below ${page.head}.`);
    }
    if (i === 0) cold = ms;
    firstPage.record(ms);
  }
  bench.report({
    scenario: "catch-up",
    what: "first page, p99",
    value: firstPage.quantile(0.99),
    unit: "ms",
    target: { atMost: 100 },
    notes: [
      describeTimes(`of ${FIRST_PAGES}:`, firstPage.percentiles()),
      `the first ${cold.toFixed(1)} ms`,
      ...notes,
    ],
  });

  await using device = await Device.connect(server, receiver);
  const processes = { serverPid: server.pid, postmasterPid: bench.cluster.postmasterPid };
  const before = { ms: performance.now(), cpu: readCpu(processes) };
  let cursor = "0", pages = 0, entries = 0;
  for (let head = ""; cursor !== head; pages++) {
    const page = await device.request("message.pull", { cursor, limit: PAGE });
    ({ cursor, head } = page);
    entries += page.entries.length;
  }
  if (entries !== WAITING) throw new BenchError(`${entries} of ${WAITING} messages came.`);
  const pulledMs = performance.now() - before.ms;
  const cpu = cpuUse(entries, before.cpu, readCpu(processes));
  bench.report({
    scenario: "catch-up",
    what: "all pages, one after the other",
    value: entries / pulledMs * 1_000,
    unit: "msg/s",
    notes: [`${pages} pages of ${formatNumber(pulledMs / pages)} ms`, describeCpu("message", cpu), ...notes],
  });

  const listFrom = performance.now();
  const { conversations } = await device.request("conversation.list", {});
  bench.report({
    scenario: "catch-up",
    what: "conversation list, first time",
    value: performance.now() - listFrom,
    unit: "ms",
    target: { atMost: 1_000 },
    notes: [`${conversations.length} conversations`, ...notes],
  });
}

/** A device of the user that asks one thing at a time. */
class Device implements AsyncDisposable {
  readonly #client: LoadClient;
  readonly #answers: Answers;

  private constructor(client: LoadClient, answers: Answers) {
    this.#client = client;
    this.#answers = answers;
  }

  static async connect(server: ServerProcess, account: Account): Promise<Device> {
    const answers: Answers = { next: null };
    const client = await LoadClient.connect({
      wsUrl: server.wsUrl,
      account,
      readBytes: 256 * 1024,
      observer: {
        acknowledged() {},
        reply: (payload) => answers.next?.resolve(new TextDecoder().decode(payload)),
        event() {},
        lost: (reason) => answers.next?.reject(new BenchError(`The connection was lost: ${reason}.`)),
      },
    });
    return new Device(client, answers);
  }

  async request<C extends CommandName>(
    command: C,
    request: Commands[C]["request"],
  ): Promise<Commands[C]["result"]> {
    const answer = this.#answers.next = Promise.withResolvers<string>();
    this.#client.send(
      encodePublish(`im/${command}`, JSON.stringify({ requestId: "r", ...request }), 1, PACKET_ID),
    );
    const reply = JSON.parse(await answer.promise) as { code: number; result: Commands[C]["result"] };
    if (reply.code !== 0) throw new BenchError(`${command} was refused: ${JSON.stringify(reply)}`);
    return reply.result;
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#client.close();
    return Promise.resolve();
  }
}

interface Answers {
  next: PromiseWithResolvers<string> | null;
}
